#define _GNU_SOURCE
#include "orders.h"

#include <endian.h>
#include <string.h>

enum { WORD = sizeof(uint64_t) };

static uint64_t word_at(const char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return be64toh(word);
}

int decode_order(const void *message, size_t size, struct order *order) {
  const char *bytes = message;
  if (size == 0) return 0;
  switch (bytes[0]) {
  case WATCH:
    if (size != 1 + 3 * WORD) return 0;
    *order = (struct order){WATCH, word_at(bytes + 1), word_at(bytes + 1 + WORD), word_at(bytes + 1 + 2 * WORD)};
    return 1;
  case CONCLUDE:
    *order = (struct order){.kind = CONCLUDE};
    return size == 1;
  case END:
    *order = (struct order){.kind = END};
    return size == 1;
  default:
    return 0;
  }
}

int decode_plans(const void *message, size_t size, struct plans *plans) {
  if (size <= WORD) return 0;
  uint64_t own_bytes = word_at(message);
  if (own_bytes == 0 || own_bytes >= size - WORD) return 0;
  *plans = (struct plans){WORD, own_bytes, WORD + own_bytes, size - WORD - own_bytes};
  return plans->run_bytes <= LARGEST_PLAN;
}

struct number encode_number(int32_t value) {
  uint32_t swapped = htobe32((uint32_t)value);
  struct number number;
  memcpy(number.bytes, &swapped, sizeof swapped);
  return number;
}

int32_t decode_number(struct number number) {
  uint32_t swapped;
  memcpy(&swapped, number.bytes, sizeof swapped);
  return (int32_t)be32toh(swapped);
}
