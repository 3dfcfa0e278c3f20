// Registers the custom operations with TensorFlow when the library is loaded. The headers contain the computations.
#include <iterator>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "adam.h"
#include "convolution.h"
#include "narrow_dense.h"
#include "pooling.h"
#include "tensorflow.h"

namespace {

struct Error {
  std::string message;
  TF_Code code = TF_INVALID_ARGUMENT;
};

struct Status {
  TF_Status* status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  operator TF_Status*() { return status; }
  void check() const {
    if (TF_GetCode(status) != TF_OK) throw Error{TF_Message(status), TF_GetCode(status)};
  }
};

void require(bool condition, const char* message) {
  if (!condition) throw Error{message};
}

struct Input {
  TF_Tensor* tensor = nullptr;
  Input(TF_OpKernelContext* context, int index) {
    Status status;
    TF_GetInput(context, index, &tensor, status);
    status.check();
  }
  Input(TF_OpKernelContext* context, int index, int dims) : Input(context, index) {
    if (this->dims() != dims)
      throw Error{"input " + std::to_string(index) + " must have " + std::to_string(dims) + " dimensions"};
  }
  ~Input() { TF_DeleteTensor(tensor); }
  Input(const Input&) = delete;
  int dims() const { return TF_NumDims(tensor); }
  int64_t dim(int i) const { return TF_Dim(tensor, i); }
  int64_t size() const {
    int64_t size = 1;
    for (int i = 0; i < dims(); i++) size *= dim(i);
    return size;
  }
  template <class T>
  const T* data() const { return (const T*)TF_TensorData(tensor); }
};

template <class T>
constexpr TF_DataType DATA_TYPE = TF_FLOAT;
template <>
constexpr TF_DataType DATA_TYPE<bfloat16> = TF_BFLOAT16;
template <>
constexpr TF_DataType DATA_TYPE<uint8_t> = TF_UINT8;

template <class T, class Dims = std::initializer_list<int64_t>>
T* allocate_output(TF_OpKernelContext* context, int index, const Dims& dims) {
  size_t bytes = sizeof(T);
  for (int64_t dim : dims) bytes *= dim;
  Status status;
  TF_Tensor* tensor =
      TF_AllocateOutput(context, index, DATA_TYPE<T>, std::data(dims), (int)dims.size(), bytes, status);
  status.check();
  T* data = (T*)TF_TensorData(tensor);
  TF_DeleteTensor(tensor);  // the context holds its own reference to the data
  return data;
}

struct Attributes {
  int32_t threads = 1;
  unsigned char relu = 0, same = 0;
  float first = 0, second = 0, epsilon = 0;
  int32_t height = 0, width = 0;
};

ConvolutionShape convolution_shape(const Input& images, const int64_t filters[4], bool same) {
  ConvolutionShape s{};
  s.batch = images.dim(0), s.height = images.dim(1), s.width = images.dim(2), s.channels = images.dim(3);
  s.kernel_height = filters[0], s.kernel_width = filters[1], s.filters = filters[3];
  require(filters[2] == s.channels && s.filters % LANES == 0,
          "filters must have the images' channels, and their number must be a multiple of 16");
  require(s.taps() > 0 && s.filters > 0, "filters must not be empty");
  s.output_height = same ? s.height : s.height - s.kernel_height + 1;
  s.output_width = same ? s.width : s.width - s.kernel_width + 1;
  require(s.output_height > 0 && s.output_width > 0, "the images are smaller than the filters");
  if (same) s.pad_top = (s.kernel_height - 1) / 2, s.pad_left = (s.kernel_width - 1) / 2;
  return s;
}

template <class T>
void convolution(const Attributes& attributes, TF_OpKernelContext* context) {
  Input images(context, 0, 4), filters(context, 1, 4), bias(context, 2, 1);
  int64_t dims[] = {filters.dim(0), filters.dim(1), filters.dim(2), filters.dim(3)};
  ConvolutionShape s = convolution_shape(images, dims, attributes.same);
  require(bias.dim(0) == s.filters, "bias must have one value per filter");
  T* outputs = allocate_output<T>(context, 0, {s.batch, s.output_height, s.output_width, s.filters});
  convolve(s, attributes.threads, images.data<T>(), filters.data<T>(), bias.data<T>(), attributes.relu, outputs);
}

template <class T>
void convolution_gradient(const Attributes& attributes, TF_OpKernelContext* context) {
  Input images(context, 0, 4), filters(context, 1, 4), outputs(context, 2, 4), upstream(context, 3, 4);
  int64_t dims[] = {filters.dim(0), filters.dim(1), filters.dim(2), filters.dim(3)};
  ConvolutionShape s = convolution_shape(images, dims, attributes.same);
  int64_t expected[] = {s.batch, s.output_height, s.output_width, s.filters};
  for (int i = 0; i < 4; i++)
    require(outputs.dim(i) == expected[i] && upstream.dim(i) == expected[i],
            "outputs and upstream must have the shape of the convolution's outputs");
  T* filters_gradient = allocate_output<T>(context, 0, {dims[0], dims[1], dims[2], dims[3]});
  T* bias_gradient = allocate_output<T>(context, 1, {s.filters});
  compute_filters_gradient(s, attributes.threads, images.data<T>(), outputs.data<T>(), upstream.data<T>(),
                           attributes.relu, filters_gradient, bias_gradient);
}

template <class T>
void narrow_dense(const Attributes& attributes, TF_OpKernelContext* context) {
  Input inputs(context, 0, 2), weights(context, 1, 2), bias(context, 2, 1);
  int64_t batch = inputs.dim(0), input_size = inputs.dim(1), units = weights.dim(1);
  require(weights.dim(0) == input_size && bias.dim(0) == units && units > 0 && units <= MAX_UNITS,
          "shapes do not match");
  T* outputs = allocate_output<T>(context, 0, {batch, units});
  T* transposed = allocate_output<T>(context, 1, {units, input_size});
  transpose(attributes.threads, input_size, units, weights.data<T>(), transposed);
  dispatch_units(units, [&]<int UNITS>() {
    compute_outputs<UNITS>(attributes.threads, batch, input_size, inputs.data<T>(), transposed, bias.data<T>(),
                           outputs);
  });
}

template <class T>
void narrow_dense_inputs_gradient(const Attributes& attributes, TF_OpKernelContext* context) {
  Input upstream(context, 0, 2), transposed(context, 1, 2);
  int64_t batch = upstream.dim(0), units = upstream.dim(1), input_size = transposed.dim(1);
  require(transposed.dim(0) == units && units > 0 && units <= MAX_UNITS, "shapes do not match");
  T* inputs_gradient = allocate_output<T>(context, 0, {batch, input_size});
  dispatch_units(units, [&]<int UNITS>() {
    compute_inputs_gradient<UNITS>(attributes.threads, batch, input_size, upstream.data<T>(), transposed.data<T>(),
                                   inputs_gradient);
  });
}

template <class T>
void narrow_dense_weights_gradient(const Attributes& attributes, TF_OpKernelContext* context) {
  Input inputs(context, 0, 2), upstream(context, 1, 2);
  int64_t batch = inputs.dim(0), input_size = inputs.dim(1), units = upstream.dim(1);
  require(upstream.dim(0) == batch && units > 0 && units <= MAX_UNITS, "shapes do not match");
  T* weights_gradient = allocate_output<T>(context, 0, {input_size, units});
  T* bias_gradient = allocate_output<T>(context, 1, {units});
  dispatch_units(units, [&]<int UNITS>() {
    compute_weights_gradient<UNITS>(attributes.threads, batch, input_size, inputs.data<T>(), upstream.data<T>(),
                                    weights_gradient, bias_gradient);
  });
}

void adam(const Attributes& attributes, TF_OpKernelContext* context) {
  Input rate(context, 0, 0), gradient(context, 1), variable(context, 2), momentum(context, 3), velocity(context, 4);
  std::vector<int64_t> dims(variable.dims());
  for (int i = 0; i < variable.dims(); i++) dims[i] = variable.dim(i);
  int64_t size = variable.size();
  require(gradient.size() == size && momentum.size() == size && velocity.size() == size,
          "gradient, variable, momentum and velocity must have the same shape");
  float* outputs[3];
  for (int i = 0; i < 3; i++) outputs[i] = allocate_output<float>(context, i, dims);
  update_adam({size, gradient.data<float>(), variable.data<float>(), momentum.data<float>(), velocity.data<float>(),
               outputs[0], outputs[1], outputs[2]},
              {attributes.first, attributes.second, attributes.epsilon, *rate.data<float>()}, attributes.threads);
}

PoolingShape pooling_shape(const Attributes& attributes, int64_t batch, int height, int width, int channels) {
  int half_windows = attributes.same;
  PoolingShape s{batch, height, width, channels, (height + half_windows) / 2, (width + half_windows) / 2};
  require(s.output_height > 0 && s.output_width > 0, "the inputs are smaller than a window");
  return s;
}

template <class T>
void max_pool(const Attributes& attributes, TF_OpKernelContext* context) {
  Input inputs(context, 0, 4);
  PoolingShape s = pooling_shape(attributes, inputs.dim(0), inputs.dim(1), inputs.dim(2), inputs.dim(3));
  std::initializer_list<int64_t> dims = {s.batch, s.output_height, s.output_width, s.channels};
  T* outputs = allocate_output<T>(context, 0, dims);
  max_pool(s, attributes.threads, inputs.data<T>(), outputs, allocate_output<uint8_t>(context, 1, dims));
}

template <class T>
void max_pool_gradient(const Attributes& attributes, TF_OpKernelContext* context) {
  Input upstream(context, 0, 4), positions(context, 1, 4);
  PoolingShape s = pooling_shape(attributes, upstream.dim(0), attributes.height, attributes.width, upstream.dim(3));
  int64_t expected[] = {s.batch, s.output_height, s.output_width, s.channels};
  for (int i = 0; i < 4; i++)
    require(upstream.dim(i) == expected[i] && positions.dim(i) == expected[i],
            "upstream and positions must have the shape of the outputs");
  T* inputs_gradient = allocate_output<T>(context, 0, {s.batch, s.height, s.width, s.channels});
  max_pool_gradient(s, attributes.threads, upstream.data<T>(), positions.data<uint8_t>(), attributes.relu,
                    inputs_gradient);
}

enum class Kind { DENSE, CONVOLUTION, POOLING, POOLING_GRADIENT, ADAM };

template <Kind KIND>
void* create_attributes(TF_OpKernelConstruction* construction) {
  auto* attributes = new Attributes;
  Status status;
  TF_OpKernelConstruction_GetAttrInt32(construction, "threads", &attributes->threads, status);
  if (KIND == Kind::CONVOLUTION || KIND == Kind::POOLING || KIND == Kind::POOLING_GRADIENT)
    TF_OpKernelConstruction_GetAttrBool(construction, "same", &attributes->same, status);
  if (KIND == Kind::CONVOLUTION || KIND == Kind::POOLING_GRADIENT)
    TF_OpKernelConstruction_GetAttrBool(construction, "relu", &attributes->relu, status);
  if (KIND == Kind::POOLING_GRADIENT) {
    TF_OpKernelConstruction_GetAttrInt32(construction, "height", &attributes->height, status);
    TF_OpKernelConstruction_GetAttrInt32(construction, "width", &attributes->width, status);
  }
  if (KIND == Kind::ADAM) {
    TF_OpKernelConstruction_GetAttrFloat(construction, "first", &attributes->first, status);
    TF_OpKernelConstruction_GetAttrFloat(construction, "second", &attributes->second, status);
    TF_OpKernelConstruction_GetAttrFloat(construction, "epsilon", &attributes->epsilon, status);
  }
  return attributes;
}

using Compute = void(const Attributes&, TF_OpKernelContext*);

void fail(TF_OpKernelContext* context, TF_Code code, const char* message) {
  Status status;
  TF_SetStatus(status, code, message);
  TF_OpKernelContext_Failure(context, status);
}

// Calls COMPUTE and reports its errors to TensorFlow. An exception that leaves this function would end the process.
template <Compute* COMPUTE>
void run_kernel(void* attributes, TF_OpKernelContext* context) {
  try {
    COMPUTE(*(const Attributes*)attributes, context);
  } catch (const Error& error) {
    fail(context, error.code, error.message.c_str());
  } catch (const std::bad_alloc&) {
    fail(context, TF_RESOURCE_EXHAUSTED, "OOM when allocating a buffer of a custom C++ operation");
  } catch (const std::length_error&) {  // of a vector with more elements than any memory has
    fail(context, TF_RESOURCE_EXHAUSTED, "OOM when allocating a buffer of a custom C++ operation");
  } catch (const std::system_error&) {
    fail(context, TF_RESOURCE_EXHAUSTED, "the threads of a custom C++ operation cannot be started");
  }
}

template <Kind KIND>
void register_kernel(const char* name, TF_DataType type, void (*run)(void*, TF_OpKernelContext*)) {
  Status status;
  auto delete_attributes = [](void* attributes) { delete (Attributes*)attributes; };
  auto* builder = TF_NewKernelBuilder(name, "CPU", create_attributes<KIND>, run, delete_attributes);
  TF_KernelBuilder_TypeConstraint(builder, "T", type, status);
  TF_RegisterKernelBuilder(name, builder, status);
}

using Specs = std::initializer_list<const char*>;

void register_operation(const char* name, Specs attributes, Specs inputs, Specs outputs) {
  Status status;
  auto* builder = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddAttr(builder, "threads: int >= 1");
  for (auto* attribute : attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (auto* input : inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (auto* output : outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, TF_ShapeInferenceContextSetUnknownShape);
  TF_RegisterOpDefinition(builder, status);
}

template <Kind KIND, Compute* COMPUTE_FLOAT, Compute* COMPUTE_BFLOAT16>
void register_layer(const char* name, Specs inputs, Specs outputs) {
  constexpr const char* type = "T: {float, bfloat16}";
  if (KIND == Kind::CONVOLUTION)
    register_operation(name, {type, "relu: bool", "same: bool"}, inputs, outputs);
  else if (KIND == Kind::POOLING)
    register_operation(name, {type, "same: bool"}, inputs, outputs);
  else if (KIND == Kind::POOLING_GRADIENT)
    register_operation(name, {type, "relu: bool", "same: bool", "height: int", "width: int"}, inputs, outputs);
  else
    register_operation(name, {type}, inputs, outputs);
  register_kernel<KIND>(name, TF_FLOAT, run_kernel<COMPUTE_FLOAT>);
  register_kernel<KIND>(name, TF_BFLOAT16, run_kernel<COMPUTE_BFLOAT16>);
}

const bool registered = [] {
  register_layer<Kind::CONVOLUTION, convolution<float>, convolution<bfloat16>>(
      "TfloopConvolution", {"images: T", "filters: T", "bias: T"}, {"outputs: T"});
  register_layer<Kind::CONVOLUTION, convolution_gradient<float>, convolution_gradient<bfloat16>>(
      "TfloopConvolutionGradient", {"images: T", "filters: T", "outputs: T", "upstream: T"},
      {"filters_gradient: T", "bias_gradient: T"});
  register_layer<Kind::DENSE, narrow_dense<float>, narrow_dense<bfloat16>>(
      "TfloopNarrow", {"inputs: T", "weights: T", "bias: T"}, {"outputs: T", "transposed: T"});
  register_layer<Kind::DENSE, narrow_dense_inputs_gradient<float>, narrow_dense_inputs_gradient<bfloat16>>(
      "TfloopNarrowInputsGradient", {"upstream: T", "transposed: T"}, {"inputs_gradient: T"});
  register_layer<Kind::DENSE, narrow_dense_weights_gradient<float>, narrow_dense_weights_gradient<bfloat16>>(
      "TfloopNarrowWeightsGradient", {"inputs: T", "upstream: T"}, {"weights_gradient: T", "bias_gradient: T"});
  register_layer<Kind::POOLING, max_pool<float>, max_pool<bfloat16>>("TfloopMaxPool", {"inputs: T"},
                                                                   {"outputs: T", "positions: uint8"});
  register_layer<Kind::POOLING_GRADIENT, max_pool_gradient<float>, max_pool_gradient<bfloat16>>(
      "TfloopMaxPoolGradient", {"upstream: T", "positions: uint8"}, {"inputs_gradient: T"});
  register_operation("TfloopAdam", {"T: {float}", "first: float", "second: float", "epsilon: float"},
                     {"rate: T", "gradient: T", "variable: T", "momentum: T", "velocity: T"},
                     {"new_variable: T", "new_momentum: T", "new_velocity: T"});
  register_kernel<Kind::ADAM>("TfloopAdam", TF_FLOAT, run_kernel<adam>);
  return true;
}();

}  // namespace
