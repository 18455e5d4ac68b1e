#ifndef ZMESH_USAGE_H
#define ZMESH_USAGE_H
// What the processes of a run use together, as seen by process 1 of its namespace; usage.py is the same in Python.
#include <stdint.h>
#include <sys/types.h>

struct usage {
  int processes, had_children; // children that ended and were waited for
  double cpu_seconds; // includes children that ended
  uint64_t memory_bytes;
};

// Of one process, or, if `pid` is 0, of all except process 1. A page mapped by several counts once for each, so this is
// never too low.
struct usage measure(pid_t pid);

// The peak memory of one process, and its CPU time to the nanosecond, without its children; 0 if it is gone.
int measure_one(pid_t pid, uint64_t *peak_bytes, double *cpu_seconds);

// How many file locks they hold or wait for, counted up to `enough`.
uint64_t count_locks(uint64_t enough);

// Bytes of memory as in measure(), but with each shared page divided among the processes that map it; slower.
uint64_t exact_memory(void);

#endif
