// Reads cases from standard input and decodes each, in memory that ends where the case does. Built with sanitizers;
// test_native_code.py makes the cases, and knows what has to come of each. Plans are carried out, but their system calls
// are only looked at.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orders.h"
#include "plan.h"

struct case_head {
  uint8_t decoder;
  uint32_t size;
} __attribute__((packed));

// confinement/plan.c is compiled to call this in place of syscall(2).
long recorded_system_call(long number, ...) {
  return number & 0x7fff;
}

static void *exactly(size_t size) {
  void *memory = malloc(size ? size : 1);
  if (!memory) abort();
  return memory;
}

static int decode(uint8_t decoder, char *data, size_t size, uint64_t values[4]) {
  struct order order;
  struct plans plans;
  struct number number;
  switch (decoder) {
  case 'o':
    if (!decode_order(data, size, &order)) return 0;
    values[0] = order.kind, values[1] = order.memory_bytes, values[2] = order.cpu_seconds, values[3] = order.locks;
    return 1;
  case 'm':
    if (!decode_plans(data, size, &plans)) return 0;
    values[0] = plans.own_at, values[1] = plans.own_bytes, values[2] = plans.run_at, values[3] = plans.run_bytes;
    return 1;
  case 'n':
    if (size != sizeof number) return 0;
    memcpy(&number, data, sizeof number);
    values[0] = (uint64_t)(int64_t)decode_number(number);
    number = encode_number((int32_t)values[0]);
    return memcmp(&number, data, sizeof number) == 0;
  default:
    if (fault_of_plan(data, size)) return 0;
    carry_out(data, size);
    return 1;
  }
}

int main(void) {
  struct case_head head;
  while (fread(&head, sizeof head, 1, stdin) == 1) {
    uint64_t values[4] = {0};
    char *data = exactly(head.size);
    if (fread(data, 1, head.size, stdin) != head.size) abort();
    uint8_t accepted = (uint8_t)decode(head.decoder, data, head.size, values);
    free(data);
    fwrite(&accepted, sizeof accepted, 1, stdout);
    fwrite(values, sizeof values, 1, stdout);
  }
  return 0;
}
