// The operations that TensorFlow gets to know when this library is loaded; their kernels are in the headers.
#include <memory>
#include <string>

#include "convolution.h"
#include "narrow.h"
#include "tensorflow.h"

namespace {

struct Failure {
  std::string message;
};

struct Status {
  TF_Status* status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  operator TF_Status*() { return status; }
  void check() const {
    if (TF_GetCode(status) != TF_OK) throw Failure{TF_Message(status)};
  }
};

void require(bool holds, const char* what) {
  if (!holds) throw Failure{what};
}

// One input.
struct Input {
  TF_Tensor* tensor = nullptr;
  Input(TF_OpKernelContext* context, int index, int dims) {
    Status status;
    TF_GetInput(context, index, &tensor, status);
    status.check();
    if (TF_NumDims(tensor) == dims) return;
    TF_DeleteTensor(tensor);
    throw Failure{"input " + std::to_string(index) + " must have " + std::to_string(dims) + " dimensions"};
  }
  ~Input() { TF_DeleteTensor(tensor); }
  Input(const Input&) = delete;
  int64_t dim(int i) const { return TF_Dim(tensor, i); }
  template <class T>
  const T* data() const { return (const T*)TF_TensorData(tensor); }
};

template <class T>
constexpr TF_DataType TYPE = TF_FLOAT;
template <>
constexpr TF_DataType TYPE<bfloat16> = TF_BFLOAT16;

template <class T>
T* output(TF_OpKernelContext* context, int index, std::initializer_list<int64_t> dims) {
  size_t bytes = sizeof(T);
  for (int64_t dim : dims) bytes *= dim;
  Status status;
  TF_Tensor* tensor = TF_AllocateOutput(context, index, TYPE<T>, dims.begin(), dims.size(), bytes, status);
  status.check();
  T* data = (T*)TF_TensorData(tensor);
  TF_DeleteTensor(tensor);  // the context keeps its own
  return data;
}

struct Attributes {
  int32_t threads = 1;
  unsigned char relu = 0, same = 0;
};

Shape shape(const Input& images, const int64_t filters[4], bool same) {
  Shape s{};
  s.batch = images.dim(0), s.height = images.dim(1), s.width = images.dim(2), s.channels = images.dim(3);
  s.taps_down = filters[0], s.taps_across = filters[1], s.filters = filters[3];
  require(filters[2] == s.channels && s.filters % WIDTH == 0, "filters must have the images' channels, and 16, 32 ... outputs");
  s.rows = same ? s.height : s.height - s.taps_down + 1;
  s.columns = same ? s.width : s.width - s.taps_across + 1;
  require(s.rows > 0 && s.columns > 0, "the images are smaller than the filters");
  if (same) s.above = (s.taps_down - 1) / 2, s.before = (s.taps_across - 1) / 2;
  return s;
}

template <class T>
void convolution(const Attributes& a, TF_OpKernelContext* context) {
  Input images(context, 0, 4), filters(context, 1, 4), bias(context, 2, 1);
  int64_t dims[] = {filters.dim(0), filters.dim(1), filters.dim(2), filters.dim(3)};
  Shape s = shape(images, dims, a.same);
  require(bias.dim(0) == s.filters, "bias must have a number for each filter");
  T* out = output<T>(context, 0, {s.batch, s.rows, s.columns, s.filters});
  convolve(s, a.threads, images.data<T>(), filters.data<T>(), bias.data<T>(), a.relu, out);
}

template <class T>
void convolution_gradient(const Attributes& a, TF_OpKernelContext* context) {
  Input images(context, 0, 4), filters(context, 1, 4), out(context, 2, 4), outer(context, 3, 4);
  int64_t dims[] = {filters.dim(0), filters.dim(1), filters.dim(2), filters.dim(3)};
  Shape s = shape(images, dims, a.same);
  int64_t expected[] = {s.batch, s.rows, s.columns, s.filters};
  for (int i = 0; i < 4; i++) require(out.dim(i) == expected[i] && outer.dim(i) == expected[i], "not of these images");
  T* learned = output<T>(context, 0, {dims[0], dims[1], dims[2], dims[3]});
  T* bias = output<T>(context, 1, {s.filters});
  learn_filters(s, a.threads, images.data<T>(), out.data<T>(), outer.data<T>(), a.relu, learned, bias);
}

template <class T>
void narrow(const Attributes& a, TF_OpKernelContext* context) {
  Input in(context, 0, 2), weights(context, 1, 2), bias(context, 2, 1);
  int64_t batch = in.dim(0), inputs = in.dim(1), outputs = weights.dim(1);
  require(weights.dim(0) == inputs && bias.dim(0) == outputs && outputs > 0 && outputs <= MOST, "shapes do not match");
  T* out = output<T>(context, 0, {batch, outputs});
  T* turned = output<T>(context, 1, {outputs, inputs});
  turn(a.threads, inputs, outputs, weights.data<T>(), turned);
  with_outputs(outputs, [&]<int OUT>() {
    multiply<OUT>(a.threads, batch, inputs, in.data<T>(), turned, bias.data<T>(), out);
  });
}

template <class T>
void narrow_inputs_gradient(const Attributes& a, TF_OpKernelContext* context) {
  Input outer(context, 0, 2), turned(context, 1, 2);
  int64_t batch = outer.dim(0), outputs = outer.dim(1), inputs = turned.dim(1);
  require(turned.dim(0) == outputs && outputs > 0 && outputs <= MOST, "shapes do not match");
  T* passed = output<T>(context, 0, {batch, inputs});
  with_outputs(outputs, [&]<int OUT>() {
    pass_on<OUT>(a.threads, batch, inputs, outer.data<T>(), turned.data<T>(), passed);
  });
}

template <class T>
void narrow_weights_gradient(const Attributes& a, TF_OpKernelContext* context) {
  Input in(context, 0, 2), outer(context, 1, 2);
  int64_t batch = in.dim(0), inputs = in.dim(1), outputs = outer.dim(1);
  require(outer.dim(0) == batch && outputs > 0 && outputs <= MOST, "shapes do not match");
  T* weights = output<T>(context, 0, {inputs, outputs});
  T* bias = output<T>(context, 1, {outputs});
  with_outputs(outputs, [&]<int OUT>() {
    learn<OUT>(a.threads, batch, inputs, in.data<T>(), outer.data<T>(), weights, bias);
  });
}

template <bool IMAGES>
void* create(TF_OpKernelConstruction* construction) {
  auto* attributes = new Attributes;
  Status status;
  TF_OpKernelConstruction_GetAttrInt32(construction, "threads", &attributes->threads, status);
  if (IMAGES) TF_OpKernelConstruction_GetAttrBool(construction, "relu", &attributes->relu, status);
  if (IMAGES) TF_OpKernelConstruction_GetAttrBool(construction, "same", &attributes->same, status);
  return attributes;
}

template <void (*COMPUTE)(const Attributes&, TF_OpKernelContext*)>
void compute(void* attributes, TF_OpKernelContext* context) {
  try {
    COMPUTE(*(const Attributes*)attributes, context);
  } catch (const Failure& failure) {
    Status status;
    TF_SetStatus(status, TF_INVALID_ARGUMENT, failure.message.c_str());
    TF_OpKernelContext_Failure(context, status);
  }
}

template <bool IMAGES, void (*FLOATS)(const Attributes&, TF_OpKernelContext*), void (*HALVES)(const Attributes&, TF_OpKernelContext*)>
void add(const char* name, std::initializer_list<const char*> inputs, std::initializer_list<const char*> outputs) {
  Status status;
  auto* builder = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(builder, "T: {float, bfloat16}");
  TF_OpDefinitionBuilderAddAttr(builder, "threads: int >= 1");
  if (IMAGES) TF_OpDefinitionBuilderAddAttr(builder, "relu: bool");
  if (IMAGES) TF_OpDefinitionBuilderAddAttr(builder, "same: bool");
  for (auto* input : inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (auto* output : outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(builder, status);
  auto kernel = [&](TF_DataType type, void (*run)(void*, TF_OpKernelContext*)) {
    auto destroy = [](void* attributes) { delete (Attributes*)attributes; };
    auto* builder = TF_NewKernelBuilder(name, "CPU", create<IMAGES>, run, destroy);
    TF_KernelBuilder_TypeConstraint(builder, "T", type, status);
    TF_RegisterKernelBuilder(name, builder, status);
  };
  kernel(TF_FLOAT, compute<FLOATS>);
  kernel(TF_BFLOAT16, compute<HALVES>);
}

const bool added = [] {
  add<true, convolution<float>, convolution<bfloat16>>(
      "TfloopConvolution", {"images: T", "filters: T", "bias: T"}, {"out: T"});
  add<true, convolution_gradient<float>, convolution_gradient<bfloat16>>(
      "TfloopConvolutionGradient", {"images: T", "filters: T", "out: T", "outer: T"}, {"learned: T", "bias: T"});
  add<false, narrow<float>, narrow<bfloat16>>(
      "TfloopNarrow", {"inputs: T", "weights: T", "bias: T"}, {"out: T", "turned: T"});
  add<false, narrow_inputs_gradient<float>, narrow_inputs_gradient<bfloat16>>(
      "TfloopNarrowInputsGradient", {"outer: T", "turned: T"}, {"passed: T"});
  add<false, narrow_weights_gradient<float>, narrow_weights_gradient<bfloat16>>(
      "TfloopNarrowWeightsGradient", {"inputs: T", "outer: T"}, {"learned: T", "bias: T"});
  return true;
}();

}  // namespace
