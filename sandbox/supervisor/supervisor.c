// A program that makes a supervisor for each run: process 1 of the run's namespaces, which has the run forked into them,
// watches what it uses, ends all of it, and tells how it ended. supervisor.py is the same for where this was not built.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "messages.h"
#include "orders.h"
#include "plan.h"
#include "usage.h"

enum { WATCH_MS = 50, ANSWER_MS = 10000, NAMESPACES = 4 };
static const double LOCKS_EVERY = 0.25; // seconds of CPU time, in which a run makes some ten thousand locks at most
static const char *const NAMESPACE_FILES[NAMESPACES] = { // in the order that template.c expects
    "/proc/self/ns/pid", "/proc/self/ns/mnt", "/proc/self/ns/ipc", "/proc/self/ns/uts"};

static char message[LARGEST_PLANS]; // the order to make a supervisor
static struct plans plans; // in it

static struct {
  int supervision, child_ended;
  pid_t run;
  int watching; // from the moment the limits are known
  struct order limits;
  struct timespec next_look;
  const char *limit_hit;
  uint64_t baseline_bytes, peak_bytes;
  double cpu_of_dead, cpu_seen, cpu_at_locks;
  int cpu_counter; // the kernel's own, of all processes of the run; -1 where there is none
} state;

static double seconds_of(const struct rusage *used) {
  return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) +
         (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec) / 1e6;
}

// CPU seconds of the run, including children that nobody waited for; 0 if the kernel does not count them.
static double counted(void) {
  uint64_t nanoseconds;
  if (state.cpu_counter < 0 || read(state.cpu_counter, &nanoseconds, sizeof nanoseconds) != sizeof nanoseconds) return 0;
  return (double)nanoseconds / 1e9;
}

// Ends the supervisor, and with it the kernel ends whatever else there is in the namespace.
static _Noreturn void tell(const char *text, int length) {
  send(state.supervision, text, (size_t)length, MSG_NOSIGNAL);
  _exit(0);
}

static _Noreturn void report(const char *exit_code, const char *number, double cpu, uint64_t peak) {
  char text[256];
  double by_kernel = counted();
  if (by_kernel > cpu) cpu = by_kernel;
  const char *quote = state.limit_hit ? "\"" : "";
  int length = snprintf(text, sizeof text,
                        "{\"exit\":%s,\"signal\":%s,\"cpu_seconds\":%.6f,\"peak_bytes\":%llu,\"limit\":%s%s%s}", exit_code,
                        number, cpu > state.cpu_seen ? cpu : state.cpu_seen,
                        (unsigned long long)(peak > state.peak_bytes ? peak : state.peak_bytes), quote,
                        state.limit_hit ? state.limit_hit : "null", quote);
  tell(text, length);
}

static _Noreturn void finish(int status, const struct rusage *used) {
  char exit_code[16] = "null", number[16] = "null";
  if (WIFEXITED(status)) snprintf(exit_code, sizeof exit_code, "%d", WEXITSTATUS(status));
  if (WIFSIGNALED(status)) snprintf(number, sizeof number, "%d", WTERMSIG(status));
  report(exit_code, number, seconds_of(used) + state.cpu_of_dead, (uint64_t)used->ru_maxrss * 1024);
}

// Ends the run; with `told`, tells how it ended.
static _Noreturn void end(int told) {
  int status;
  struct rusage used;
  kill(state.run, SIGKILL);
  if (!told || wait4(state.run, &status, 0, &used) != state.run) _exit(0);
  finish(status, &used);
}

// Its result is there. Of a run that is alone and had no children all is known without waiting for its end.
static _Noreturn void conclude(void) {
  double cpu;
  uint64_t peak;
  struct usage all = measure(0);
  if (all.processes != 1 || all.had_children || !measure_one(state.run, &peak, &cpu)) end(1);
  report("null", "null", cpu + state.cpu_of_dead, peak);
}

static void reap(void) {
  struct signalfd_siginfo seen;
  struct rusage used;
  int status;
  pid_t pid;
  (void)!read(state.child_ended, &seen, sizeof seen);
  while ((pid = wait4(-1, &status, WNOHANG, &used)) > 0) {
    if (pid == state.run) finish(status, &used);
    state.cpu_of_dead += seconds_of(&used);
  }
}

static void set_next_look(void) {
  clock_gettime(CLOCK_MONOTONIC, &state.next_look);
  state.next_look.tv_nsec += WATCH_MS * 1000000;
}

// A template that has loaded packages may not count CPU time, so its runs come without a counter. From outside a run can be
// counted as soon as it has carried out its plan, before it knows its job.
static void count_from_outside(void) {
  struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE, .size = PERF_ATTR_SIZE_VER0, .config = PERF_COUNT_SW_TASK_CLOCK,
                                 .inherit = 1, .exclude_kernel = 1, .exclude_hv = 1};
  if (state.cpu_counter < 0)
    state.cpu_counter = (int)syscall(SYS_perf_event_open, &what, state.run, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static void obey(void) {
  static const char malformed[] = "{\"failed\":\"the supervisor got a malformed order\"}";
  char received[64];
  struct order order;
  int descriptors;
  ssize_t size = receive_message(state.supervision, received, sizeof received, NULL, 0, &descriptors);
  if (size == 0 || (size < 0 && errno != EBADMSG)) end(0); // the sandbox is gone
  if (size < 0 || !decode_order(received, (size_t)size, &order)) tell(malformed, sizeof malformed - 1);
  if (order.kind == CONCLUDE) conclude();
  if (order.kind == END) end(1);
  state.limits = order;
  state.baseline_bytes = measure(state.run).memory_bytes;
  count_from_outside();
  state.watching = 1;
  set_next_look();
}

// A lock takes kernel memory that no other limit covers.
static int holds_too_many_locks(void) {
  if (state.cpu_seen < state.cpu_at_locks + LOCKS_EVERY) return 0;
  state.cpu_at_locks = state.cpu_seen;
  return count_locks(state.limits.locks + 1) > state.limits.locks;
}

static void watch(void) {
  count_from_outside();
  struct usage used = measure(0);
  uint64_t allowed = state.limits.memory_bytes + state.baseline_bytes, memory = used.memory_bytes;
  if (used.processes > 1 && memory > (state.peak_bytes < allowed ? state.peak_bytes : allowed)) memory = exact_memory();
  if (memory > state.peak_bytes) state.peak_bytes = memory;
  state.cpu_seen = used.cpu_seconds + state.cpu_of_dead;
  double by_kernel = counted();
  if (by_kernel > state.cpu_seen) state.cpu_seen = by_kernel;
  if (memory > allowed)
    state.limit_hit = "memory_limit";
  else if (state.cpu_seen > (double)state.limits.cpu_seconds)
    state.limit_hit = "cpu_limit";
  else if (holds_too_many_locks())
    state.limit_hit = "file_lock_limit";
  if (state.limit_hit) end(1);
}

// Milliseconds to the next look; -1 for never. Looks when it is time to.
static int look_if_due(void) {
  struct timespec now;
  if (!state.watching) return -1;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long left = (state.next_look.tv_sec - now.tv_sec) * 1000 + (state.next_look.tv_nsec - now.tv_nsec) / 1000000;
  if (left > 0) return (int)left;
  watch();
  set_next_look();
  return WATCH_MS;
}

static _Noreturn void supervise(void) {
  struct pollfd sources[] = {{.fd = state.child_ended, .events = POLLIN}, {.fd = state.supervision, .events = POLLIN}};
  for (;;) {
    poll(sources, 2, look_if_due());
    if (sources[0].revents) reap();
    if (sources[1].revents) obey();
  }
}

static void open_namespaces(int namespaces[NAMESPACES]) {
  for (int i = 0; i < NAMESPACES; i++)
    if ((namespaces[i] = open(NAMESPACE_FILES[i], O_RDONLY | O_CLOEXEC)) < 0) give_up(NAMESPACE_FILES[i]);
}

static void send_order(const struct supervisor_fds *fds, int answer, const int namespaces[NAMESPACES]) {
  const struct fork_fds passed = {fds->channel,  fds->output,   fds->errors,   answer,
                                  namespaces[0], namespaces[1], namespaces[2], namespaces[3]};
  if (!send_message(fds->runtime, message + plans.run_at, plans.run_bytes, (const int *)&passed, COUNT_OF(passed)))
    give_up("the runtime's template");
  close_all(namespaces, NAMESPACES);
}

// The run's process id, or a negative error number, together with the counter if there is one. 0 for no such answer.
static int hear(int from) {
  struct number number;
  int count;
  ssize_t size = receive_message(from, &number, sizeof number, &state.cpu_counter, 1, &count);
  if (count == 0) state.cpu_counter = -1;
  return size == sizeof number ? decode_number(number) : 0;
}

// Has a run forked into our namespaces, as a child of ours.
static pid_t order_run(const struct supervisor_fds *fds, const int namespaces[NAMESPACES]) {
  int pair[2], answer = 0;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) give_up("socketpair");
  send_order(fds, pair[1], namespaces);
  close(pair[1]);
  struct pollfd source = {.fd = pair[0], .events = POLLIN};
  if (poll(&source, 1, ANSWER_MS) == 1) answer = hear(pair[0]);
  if (answer == 0) {
    errno = ETIMEDOUT;
    give_up("the runtime's template did not answer");
  }
  close(pair[0]);
  errno = -answer;
  if (answer < 0) give_up("fork of the runtime's template");
  return answer;
}

static _Noreturn void become_supervisor(const struct supervisor_fds *fds) {
  int namespaces[NAMESPACES];
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  close(ORDERS);
  dup2(fds->errors, STDERR_FILENO); // what fails from here on is told to whom the run was for
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  sigprocmask(SIG_SETMASK, &ends, NULL);
  open_namespaces(namespaces); // the plan may hide them
  carry_out(message + plans.own_at, plans.own_bytes);
  state.supervision = fds->supervision;
  state.child_ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  if (state.child_ended < 0) give_up("signalfd");
  state.run = order_run(fds, namespaces);
  dup2(STDIN_FILENO, STDERR_FILENO); // else the run's standard error would not end with it
  close(fds->channel);
  close(fds->output);
  close(fds->errors);
  close(fds->runtime);
  supervise();
}

// The first counter of a machine waits for all processors, those beside another do not: one stays open here.
static void keep_counters_quick(void) {
  struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE, .size = PERF_ATTR_SIZE_VER0, .config = PERF_COUNT_SW_TASK_CLOCK,
                                 .exclude_kernel = 1, .exclude_hv = 1};
  syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

// A child of our parent, which learns of its end. Its number, or a negative error number.
static int make_supervisor(const struct supervisor_fds *fds) {
  long pid = syscall(SYS_clone, CLONE_PARENT | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) become_supervisor(fds);
  return pid < 0 ? -errno : (int)pid;
}

// 0 when the template is gone.
static int obey_template(void) {
  struct supervisor_fds fds;
  int count;
  ssize_t size = receive_message(ORDERS, message, sizeof message, (int *)&fds, COUNT_OF(fds), &count);
  if (size == 0 || (size < 0 && errno != EBADMSG)) return 0;
  int well_formed = size > 0 && count == COUNT_OF(fds) && decode_plans(message, (size_t)size, &plans);
  struct number answer = encode_number(well_formed ? make_supervisor(&fds) : -EBADMSG);
  close_all((int *)&fds, count);
  return send_message(ORDERS, &answer, sizeof answer, NULL, 0);
}

int main(void) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  keep_counters_quick();
  while (obey_template()) {
  }
  return 0;
}
