// Threads that stay: what a worker computed in one operation lies in its core's cache when the next one reads it.
#pragma once
#include <atomic>
#include <mutex>
#include <thread>

class Workers {
 public:
  // Calls job(share) for each share of 0 to shares - 1, each but the first, which is
  // done here, always on the same thread; waits for all.
  template <class Job>
  static void run(int shares, const Job& job) {
    static Workers* all = new Workers;  // never taken apart: its threads may outlive what is static
    std::lock_guard<std::mutex> alone(all->turn);
    all->grow(shares - 1);
    all->call = [](const void* job, int share) { (*(const Job*)job)(share); };
    all->job = &job;
    all->shares = shares;
    all->left.store(all->helpers, std::memory_order_relaxed);
    all->round.fetch_add(1, std::memory_order_release);
    all->round.notify_all();
    job(0);
    await(all->left, [](int left) { return left == 0; });
  }

 private:
  std::mutex turn;  // operations that are ready at once take turns
  std::atomic<int> round{0}, left{0};
  void (*call)(const void*, int);
  const void* job;
  int shares = 0, helpers = 0;

  void grow(int wanted) {
    for (; helpers < wanted; helpers++)
      std::thread([this, share = helpers + 1, seen = round.load()] { help(share, seen); }).detach();
  }

  void help(int share, int seen) {
    for (;;) {
      await(round, [&](int now) { return now != seen; });
      seen = round.load(std::memory_order_acquire);
      if (share < shares) call(job, share);
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) left.notify_one();
    }
  }

  // Looks for some microseconds before it sleeps: the next operation of a step mostly comes meanwhile. Without a pause
  // instruction, which was slower here: in a virtual machine it may hand the core to someone else.
  template <class Done>
  static void await(const std::atomic<int>& number, const Done& done) {
    for (int i = 0; i < 20000; i++)
      if (done(number.load(std::memory_order_acquire))) return;
    for (int now; !done(now = number.load(std::memory_order_acquire));) number.wait(now, std::memory_order_acquire);
  }
};
