#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// The layout that plan.py packs: head, steps, pointers, data.
enum kind { VALUE, ADDRESS, RESULT }; // a number; an offset into the data; a number to read from there

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

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "no count of parts times their size may overflow");

struct pointer {
  uint32_t at, target; // offsets into the data: the address of `target` is stored at `at`
};

_Noreturn void give_up(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
  _exit(99);
}

// A plan may start at any address, so its parts are copied out of it.
static struct head head_of(const char *plan) {
  struct head head;
  memcpy(&head, plan, sizeof head);
  return head;
}

static struct step step_of(const char *plan, uint32_t index) {
  struct step step;
  memcpy(&step, plan + sizeof(struct head) + index * sizeof step, sizeof step);
  return step;
}

static struct pointer pointer_of(const char *plan, uint32_t index) {
  struct pointer pointer;
  size_t steps = head_of(plan).steps * sizeof(struct step);
  memcpy(&pointer, plan + sizeof(struct head) + steps + index * sizeof pointer, sizeof pointer);
  return pointer;
}

static size_t data_at(struct head head) {
  return sizeof head + head.steps * sizeof(struct step) + head.pointers * sizeof(struct pointer);
}

static int lies_within(int64_t at, size_t bytes, size_t data_bytes) {
  return at >= 0 && bytes <= data_bytes && (uint64_t)at <= data_bytes - bytes;
}

static int step_lies_within(const struct step *step, size_t data_bytes) {
  for (int i = 0; i < 6; i++) {
    if (step->kinds[i] > RESULT) return 0;
    if (step->kinds[i] == ADDRESS && !lies_within(step->arguments[i], 1, data_bytes)) return 0;
    if (step->kinds[i] == RESULT && !lies_within(step->arguments[i], sizeof(int32_t), data_bytes)) return 0;
  }
  return lies_within(step->result_at, sizeof(int32_t), data_bytes);
}

const char *fault_of_plan(const char *plan, size_t size) {
  if (size < sizeof(struct head)) return "a plan without a head";
  struct head head = head_of(plan);
  if (data_at(head) + head.data_bytes != size) return "a plan whose length differs from its head";
  for (uint32_t i = 0; i < head.steps; i++) {
    struct step step = step_of(plan, i);
    if (!step_lies_within(&step, head.data_bytes)) return "a step outside its plan";
  }
  for (uint32_t i = 0; i < head.pointers; i++) {
    struct pointer pointer = pointer_of(plan, i);
    if (!lies_within(pointer.at, sizeof(uint64_t), head.data_bytes) || pointer.target >= head.data_bytes)
      return "a pointer outside its plan";
  }
  return NULL;
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
  const char *fault = fault_of_plan(plan, size);
  if (fault) {
    errno = EBADMSG;
    give_up(fault);
  }
  struct head head = head_of(plan);
  char *data = plan + data_at(head);
  for (uint32_t i = 0; i < head.pointers; i++) {
    struct pointer pointer = pointer_of(plan, i);
    uint64_t address = (uint64_t)(uintptr_t)(data + pointer.target);
    memcpy(data + pointer.at, &address, sizeof address);
  }
  for (uint32_t i = 0; i < head.steps; i++) {
    struct step step = step_of(plan, i);
    take(&step, data);
  }
}
