#ifndef ZMESH_USAGE_H
#define ZMESH_USAGE_H
// What the processes of a run use together, seen by process 1 of its namespace; usage.py says the same in Python.
#include <stdint.h>
#include <sys/types.h>

struct usage {
  int processes, had_children; // children that ended and were waited for
  double cpu_seconds; // children that ended included
  uint64_t memory_bytes;
};

// Of one process, or, where `pid` is 0, of all but process 1. A page mapped by several counts once for each, so this is
// never too little.
struct usage measure(pid_t pid);

// The most memory one process has held, and its CPU time to the nanosecond, without its children; 0 where it is gone.
int measure_one(pid_t pid, uint64_t *peak_bytes, double *cpu_seconds);

// How many locks on files they hold or wait for, counted up to `enough`.
uint64_t count_locks(uint64_t enough);

// Bytes of memory as measure() has them, but with each shared page divided among those who map it; slower.
uint64_t exact_memory(void);

#endif
