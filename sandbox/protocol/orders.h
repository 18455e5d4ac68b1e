#ifndef ZMESH_ORDERS_H
#define ZMESH_ORDERS_H
// The C part of encoding and decoding the messages in table.py; tests/sandbox/test_protocol.py compares the two.
#include <stddef.h>
#include <stdint.h>

enum { CHANNEL = 3, ORDERS = 3 };
enum { LARGEST_PLANS = 128 * 1024, LARGEST_PLAN = 64 * 1024 };

// The descriptors of MAKE_SUPERVISOR and of FORK, in this order.
struct supervisor_fds {
  int channel, output, errors, supervision, runtime;
};
struct fork_fds {
  int channel, output, errors, answer, pid_namespace, mount_namespace, ipc_namespace, uts_namespace;
};
#define COUNT_OF(fds) ((int)(sizeof(fds) / sizeof(int)))

// An order to a supervisor.
struct order {
  enum { WATCH = 'W', CONCLUDE = 'C', END = 'E' } kind;
  uint64_t memory_bytes, cpu_seconds, locks; // of WATCH
};

// 0 if the message is not an order.
int decode_order(const void *message, size_t size, struct order *order);

// MAKE_SUPERVISOR: where in the message its plan and the run's plan are.
struct plans {
  size_t own_at, own_bytes, run_at, run_bytes;
};

// 0 if the message does not hold two plans.
int decode_plans(const void *message, size_t size, struct plans *plans);

// A process number or a negative error number, as in MADE and FORKED.
struct number {
  unsigned char bytes[4];
};
struct number encode_number(int32_t value);
int32_t decode_number(struct number number);

#endif
