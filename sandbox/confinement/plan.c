#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// The layout that plan.py packs: head, steps, pointers, data.
enum kind { VALUE, ADDRESS, RESULT }; // a number; an offset into the data; a number to be read there

struct head {
  uint32_t steps, pointers, data_bytes, unused;
};

struct step {
  int64_t number;
  int64_t arguments[6];
  uint8_t kinds[6];
  uint8_t unused[2];
  int32_t result_at; // where in the data the result goes
  int32_t unused_too;
};

struct pointer {
  uint32_t at, target; // offsets into the data: at one stands the address of the other
};

_Noreturn void give_up(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
  _exit(99);
}

static long argument(const struct step *step, int position, char *data) {
  int64_t given = step->arguments[position];
  int32_t stored;
  switch (step->kinds[position]) {
  case ADDRESS:
    return (long)(data + given);
  case RESULT:
    memcpy(&stored, data + given, sizeof stored);
    return stored;
  default:
    return (long)given;
  }
}

static void take(const struct step *step, char *data) {
  long a[6];
  for (int i = 0; i < 6; i++) a[i] = argument(step, i, data);
  long result = syscall((long)step->number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (result < 0) {
    char what[48];
    snprintf(what, sizeof what, "confinement, system call %ld", (long)step->number);
    give_up(what);
  }
  int32_t stored = (int32_t)result;
  memcpy(data + step->result_at, &stored, sizeof stored);
}

void carry_out(char *plan, size_t size) {
  struct head head;
  if (size < sizeof head) give_up("a plan without head");
  memcpy(&head, plan, sizeof head);
  struct step *steps = (struct step *)(plan + sizeof head);
  struct pointer *pointers = (struct pointer *)(steps + head.steps);
  char *data = (char *)(pointers + head.pointers);
  if (data + head.data_bytes != plan + size) give_up("a plan of another length than it says");
  for (uint32_t i = 0; i < head.pointers; i++) {
    uint64_t address = (uint64_t)(uintptr_t)(data + pointers[i].target);
    memcpy(data + pointers[i].at, &address, sizeof address);
  }
  for (uint32_t i = 0; i < head.steps; i++) take(&steps[i], data);
}
