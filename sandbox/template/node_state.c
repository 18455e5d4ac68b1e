#define _GNU_SOURCE
#include "node_state.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "plan.h"

// Neither V8 nor Node.js has a call to reset these. Each is found by its value, never by an offset, and a template in
// which one is not found exactly as expected is not used.
enum { ENVIRONMENT_WORDS = 2048, STATE_WORDS = 48, ISOLATE_WORDS = 16384, CANDIDATES = 8192 };

struct generator { // v8::base::RandomNumberGenerator
  int64_t seed;
  uint64_t state[2];
};

struct birth { // nanoseconds of the monotonic clock, microseconds of the wall clock
  uint64_t monotonic;
  double wall;
};

static struct generator *generator;
static struct birth *of_environment;
static double *milestones; // the same two in the other order, for JavaScript
static uint64_t *process_monotonic, *uptime_start;
static double *process_wall;
static void (*set_seed)(struct generator *, int64_t);
static void (*seed_openssl)(const void *, int);

static int memory = -1; // our own memory as a file, which no container's seccomp profile refuses

static int peek(const void *from, void *to, size_t size) {
  return pread(memory, to, size, (off_t)(uintptr_t)from) == (ssize_t)size;
}

static int may_point(uint64_t word) { return word > 0xffff && word < (1ull << 47) && word % 8 == 0; }

static void *symbol(const char *name) { return dlsym(RTLD_DEFAULT, name); }

static void find_birth(const uint64_t *environment) {
  struct birth birth = {*process_monotonic, *process_wall}, seen;
  for (int i = 0; i < ENVIRONMENT_WORDS && !of_environment; i++)
    if (peek(environment + i, &seen, sizeof seen) && memcmp(&seen, &birth, sizeof birth) == 0)
      of_environment = (struct birth *)(environment + i);
}

// The environment points to its performance state, which points to the milestones.
static void find_milestones(const uint64_t *environment) {
  double expected[2] = {*process_wall, (double)*process_monotonic}, seen[2];
  uint64_t state, words[STATE_WORDS];
  for (int i = 0; i < ENVIRONMENT_WORDS && !milestones; i++) {
    if (!peek(environment + i, &state, sizeof state) || !may_point(state)) continue;
    if (!peek((void *)state, words, sizeof words)) continue;
    for (int j = 0; j < STATE_WORDS && !milestones; j++)
      if (may_point(words[j]) && peek((void *)words[j], seen, sizeof seen) && !memcmp(seen, expected, sizeof seen))
        milestones = (double *)words[j];
  }
}

// One step of xorshift128+, the algorithm of the generator.
static struct generator next(struct generator of) {
  uint64_t s1 = of.state[0], s0 = of.state[1];
  s1 ^= s1 << 23;
  s1 ^= s1 >> 17;
  s1 ^= s0;
  s1 ^= s0 >> 26;
  return (struct generator){of.seed, {s0, s1}};
}

// The isolate points to its generator: the object that makes such a step exactly when a number is drawn.
static void find_generator(const uint64_t *isolate, void (*draw)(void *), void *draw_argument) {
  static struct { struct generator *at, before; } candidates[CANDIDATES];
  int count = 0;
  uint64_t word;
  struct generator now;
  for (int i = 0; i < ISOLATE_WORDS && count < CANDIDATES; i++)
    if (peek(isolate + i, &word, sizeof word) && may_point(word) && peek((void *)word, &now, sizeof now)) {
      candidates[count].at = (struct generator *)word;
      candidates[count++].before = now;
    }
  draw(draw_argument);
  for (int i = 0; i < count && !generator; i++) {
    struct generator expected = next(candidates[i].before);
    if (memcmp(&expected, &candidates[i].before, sizeof expected) == 0) continue; // all zero
    if (peek(candidates[i].at, &now, sizeof now) && memcmp(&now, &expected, sizeof now) == 0)
      generator = candidates[i].at;
  }
}

static const char *find_all(void (*draw)(void *), void *draw_argument) {
  void *(*current_isolate)(void) = symbol("_ZN2v87Isolate10GetCurrentEv");
  void *(*current_context)(void *) = symbol("_ZN2v87Isolate17GetCurrentContextEv");
  void *(*environment_of)(void *) = symbol("_ZN4node21GetCurrentEnvironmentEN2v85LocalINS0_7ContextEEE");
  process_monotonic = symbol("_ZN4node11performance25performance_process_startE");
  process_wall = symbol("_ZN4node11performance35performance_process_start_timestampE");
  uptime_start = symbol("_ZN4node11per_process15node_start_timeE");
  set_seed = symbol("_ZN2v84base21RandomNumberGenerator7SetSeedEl");
  seed_openssl = symbol("RAND_seed");
  if (!current_isolate || !current_context || !environment_of || !process_monotonic || !process_wall || !uptime_start ||
      !set_seed || !seed_openssl)
    return "a symbol of this Node.js";
  void *isolate = current_isolate();
  void *environment = environment_of(current_context(isolate));
  if (!environment) return "the environment of this Node.js";
  find_birth(environment);
  find_milestones(environment);
  if (!of_environment || !milestones) return "the time of birth of this Node.js";
  find_generator(isolate, draw, draw_argument);
  return generator ? NULL : "the random number generator of this V8";
}

const char *find_inherited(void (*draw)(void *), void *draw_argument) {
  memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  if (memory < 0) return "/proc/self/mem";
  const char *missing = find_all(draw, draw_argument);
  close(memory);
  return missing;
}

void renew_inherited(void) {
  struct { int64_t v8; char openssl[32]; } seeds;
  if (getrandom(&seeds, sizeof seeds, 0) != sizeof seeds) give_up("getrandom");
  set_seed(generator, seeds.v8);
  // OpenSSL detects a fork by the process number, which may be the template's own in another namespace.
  seed_openssl(seeds.openssl, sizeof seeds.openssl);
  struct timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  of_environment->monotonic = *process_monotonic = *uptime_start = uv_hrtime();
  of_environment->wall = *process_wall = (double)wall.tv_sec * 1e6 + (double)wall.tv_nsec / 1e3;
  milestones[0] = *process_wall;
  milestones[1] = (double)*process_monotonic;
}
