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
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "plan.h"
#include "usage.h"

enum { ORDERS = 3, LARGEST_ORDER = 128 * 1024, WATCH_MS = 50, MOST_LOCKS = 10000, ANSWER_MS = 10000, NAMESPACES = 4 };
static const double LOCKS_EVERY = 0.25; // seconds of CPU time, in which a run makes some ten thousand locks at most
static const char DONE[] = "done";
static const char *const NAMESPACE_FILES[NAMESPACES] = { // in the order that template.c expects
    "/proc/self/ns/pid", "/proc/self/ns/mnt", "/proc/self/ns/ipc", "/proc/self/ns/uts"};

// What comes with an order, in this order.
struct fds {
  int channel, output, errors, supervision, template;
};
enum { FDS = sizeof(struct fds) / sizeof(int) };

// An order: how many bytes the plan for the supervisor has, that plan, and the one for the run.
static struct {
  uint64_t own_bytes;
  char plans[LARGEST_ORDER];
} order;
static size_t order_bytes;

struct limits {
  uint64_t memory_bytes, cpu_seconds;
};

static struct {
  int supervision, child_ended;
  pid_t run;
  int watching; // from the moment the limits are known
  struct limits limits;
  struct timespec next_look;
  const char *limit_hit;
  uint64_t baseline_bytes, peak_bytes;
  double cpu_of_dead, cpu_seen, cpu_at_locks;
  int cpu_counter; // the kernel's own, of all processes of the run; -1 where there is none
} state;

static int receive(struct fds *fds) {
  char control[CMSG_SPACE(sizeof *fds)];
  struct iovec part = {&order, sizeof order};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t size;
  do size = recvmsg(ORDERS, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  if (size <= (ssize_t)sizeof order.own_bytes || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) return 0;
  if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof *fds)) return 0;
  memcpy(fds, CMSG_DATA(head), sizeof *fds);
  order_bytes = (size_t)size - sizeof order.own_bytes;
  return order.own_bytes < order_bytes;
}

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
  send(state.supervision, text, (size_t)length, MSG_NOSIGNAL);
  _exit(0); // and the kernel ends whatever else there is in the namespace
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

static void obey(void) {
  char message[64];
  ssize_t size = recv(state.supervision, message, sizeof message, 0);
  if (size == sizeof DONE - 1 && !memcmp(message, DONE, sizeof DONE - 1)) conclude();
  if (size != sizeof state.limits) end(size > 0); // "kill", or the sandbox is gone
  memcpy(&state.limits, message, sizeof state.limits);
  state.baseline_bytes = measure(state.run).memory_bytes;
  state.watching = 1;
  set_next_look();
}

// A lock takes kernel memory that no other limit covers.
static int holds_too_many_locks(void) {
  if (state.cpu_seen < state.cpu_at_locks + LOCKS_EVERY) return 0;
  state.cpu_at_locks = state.cpu_seen;
  return count_locks(MOST_LOCKS + 1) > MOST_LOCKS;
}

static void watch(void) {
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

static void send_order(const struct fds *fds, int answer, const int namespaces[NAMESPACES]) {
  int passed[4 + NAMESPACES] = {fds->channel, fds->output, fds->errors, answer};
  memcpy(passed + 4, namespaces, sizeof(int) * NAMESPACES);
  char control[CMSG_SPACE(sizeof passed)];
  memset(control, 0, sizeof control);
  struct iovec part = {order.plans + order.own_bytes, order_bytes - order.own_bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof passed);
  memcpy(CMSG_DATA(head), passed, sizeof passed);
  if (sendmsg(fds->template, &message, MSG_NOSIGNAL) < 0) give_up("the runtime's template");
  for (int i = 0; i < NAMESPACES; i++) close(namespaces[i]);
}

// The run's process id, or a negative error number, together with the counter if there is one.
static int hear(int from, int *number) {
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {number, sizeof *number};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) != sizeof *number) return 0;
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  state.cpu_counter = -1;
  if (head && head->cmsg_type == SCM_RIGHTS && head->cmsg_len == CMSG_LEN(sizeof state.cpu_counter))
    memcpy(&state.cpu_counter, CMSG_DATA(head), sizeof state.cpu_counter);
  return 1;
}

// Has a run forked into our namespaces, as a child of ours.
static pid_t order_run(const struct fds *fds, const int namespaces[NAMESPACES]) {
  int pair[2], answer;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) give_up("socketpair");
  send_order(fds, pair[1], namespaces);
  close(pair[1]);
  struct pollfd source = {.fd = pair[0], .events = POLLIN};
  if (poll(&source, 1, ANSWER_MS) != 1 || !hear(pair[0], &answer)) {
    errno = ETIMEDOUT;
    give_up("the runtime's template did not answer");
  }
  close(pair[0]);
  errno = -answer;
  if (answer < 0) give_up("fork of the runtime's template");
  return answer;
}

static _Noreturn void become_supervisor(const struct fds *fds) {
  int namespaces[NAMESPACES];
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGCHLD);
  close(ORDERS);
  dup2(fds->errors, STDERR_FILENO); // what fails from here on is told to whom the run was for
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  sigprocmask(SIG_SETMASK, &ends, NULL);
  open_namespaces(namespaces); // the plan may hide them
  carry_out(order.plans, order.own_bytes);
  state.supervision = fds->supervision;
  state.child_ended = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  if (state.child_ended < 0) give_up("signalfd");
  state.run = order_run(fds, namespaces);
  dup2(STDIN_FILENO, STDERR_FILENO); // else the run's standard error would not end with it
  close(fds->channel);
  close(fds->output);
  close(fds->errors);
  close(fds->template);
  supervise();
}

// The first counter of a machine waits for all processors, those beside another do not: one stays open here.
static void keep_counters_quick(void) {
  struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE, .size = PERF_ATTR_SIZE_VER0, .config = PERF_COUNT_SW_TASK_CLOCK,
                                 .exclude_kernel = 1, .exclude_hv = 1};
  syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

int main(void) {
  struct fds fds;
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  keep_counters_quick();
  while (receive(&fds)) {
    // A child of our parent, which learns of its end.
    long pid = syscall(SYS_clone, CLONE_PARENT | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) become_supervisor(&fds);
    int answer = pid < 0 ? -errno : (int)pid;
    (void)!write(ORDERS, &answer, sizeof answer);
    for (int i = 0; i < (int)FDS; i++) close(((int *)&fds)[i]);
  }
  return 0;
}
