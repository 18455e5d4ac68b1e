// What the processes of a run use together, seen by process 1 of its namespace; usage.py says the same in Python.
#include <stdint.h>
#include <sys/types.h>

struct usage {
  int processes;
  double cpu_seconds; // children that ended included
  uint64_t memory_bytes;
};

// Of one process, or, where `pid` is 0, of all but process 1. A page mapped by several counts once for each, so this is
// never too little.
struct usage measure(pid_t pid);

// The same in bytes with each shared page divided among those who map it; slower.
uint64_t exact_memory(void);
