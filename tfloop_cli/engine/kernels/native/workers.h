// Persistent worker threads. The results that a worker computes in one operation are still in its core's cache when the
// same worker reads them in the next operation.
#pragma once
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

class Workers {
 public:
  // Calls job(part) for each part from 0 to parts - 1, in parallel, and waits for all calls. Part 0 runs on the calling
  // thread. Every other part always runs on the same worker thread. Rethrows the first exception of the calls, such as
  // std::bad_alloc: on a worker thread, it would end the process.
  template <class Job>
  static void run(int parts, const Job& job) {
    static Workers* workers = new Workers;  // never deleted: its threads can outlive static objects
    std::lock_guard<std::mutex> lock(workers->mutex);
    workers->start_threads(parts - 1);
    workers->call = [](const void* job, int part) { (*(const Job*)job)(part); };
    workers->job = &job;
    workers->failed.clear();
    workers->failure = nullptr;
    workers->parts = parts;
    workers->remaining.store(workers->threads, std::memory_order_relaxed);
    workers->generation.fetch_add(1, std::memory_order_release);
    workers->generation.notify_all();
    workers->run_part(0);
    wait_until(workers->remaining, [](int remaining) { return remaining == 0; });
    if (workers->failure) std::rethrow_exception(std::exchange(workers->failure, nullptr));
  }

 private:
  std::mutex mutex;  // serializes operations that TensorFlow runs at the same time
  std::atomic<int> generation{0}, remaining{0};  // the number of calls of run; the threads that have not finished
  void (*call)(const void*, int);
  const void* job;
  int parts = 0, threads = 0;
  std::atomic_flag failed;  // set by the first part that throws
  std::exception_ptr failure;

  void run_part(int part) noexcept {
    try {
      call(job, part);
    } catch (...) {
      if (!failed.test_and_set()) failure = std::current_exception();
    }
  }

  void start_threads(int count) {
    for (; threads < count; threads++)
      std::thread([this, part = threads + 1, previous = generation.load()] { work(part, previous); }).detach();
  }

  void work(int part, int previous) {
    for (;;) {
      wait_until(generation, [&](int current) { return current != previous; });
      previous = generation.load(std::memory_order_acquire);
      if (part < parts) run_part(part);
      if (remaining.fetch_sub(1, std::memory_order_acq_rel) == 1) remaining.notify_one();
    }
  }

  // Polls for some microseconds before it sleeps, because the next operation of a step usually starts within that time.
  // The loop has no pause instruction, because it was slower with one. In a virtual machine, a pause can give the core
  // to another guest.
  template <class Condition>
  static void wait_until(const std::atomic<int>& number, const Condition& holds) {
    for (int i = 0; i < 20000; i++)
      if (holds(number.load(std::memory_order_acquire))) return;
    for (int value; !holds(value = number.load(std::memory_order_acquire));)
      number.wait(value, std::memory_order_acquire);
  }
};
