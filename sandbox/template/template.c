#define _GNU_SOURCE
#include "template.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "messages.h"
#include "orders.h"
#include "plan.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 // Linux 6.1
#endif

enum { MAX_OWN = 64, HUGE_PAGE = 2 << 20 };

static struct {
  int control, pid_namespace;
  pid_t number; // its own process number, in its own namespace
  int end; // its own descriptors are below this; those that come with orders are above
  char kind[MAX_OWN]; // 'e' for an eventfd, 'p' for an epoll, 'w' for the write end of a pipe
  struct {
    int read_end;
    ino_t inode;
  } pipe[MAX_OWN]; // of the write ends
  char plan[LARGEST_PLAN];
  size_t plan_bytes;
  volatile pid_t run; // written by a process that shares this memory
} template;

static int moved_up(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, MAX_OWN);
  if (copy < 0) give_up("dup");
  close(fd);
  return copy;
}

static int points_to(int fd, char *target, size_t size) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(path, target, size - 1);
  target[length > 0 ? length : 0] = 0;
  return length > 0;
}

static ino_t inode_of(int fd) {
  struct stat status;
  return fstat(fd, &status) ? 0 : status.st_ino;
}

// The other descriptor below `fd` of the same pipe; -1 if there is none.
static int other_end(int fd, const char *target) {
  char other[64];
  for (int before = CHANNEL + 1; before < fd; before++)
    if (points_to(before, other, sizeof other) && !strcmp(other, target)) return before;
  return -1;
}

// Event loops of threads that a fork lacks leave descriptors behind, which no run may share with another.
static void survey_descriptors(void) {
  char target[64];
  template.end = CHANNEL + 1;
  for (int fd = CHANNEL; fd < MAX_OWN; fd++) {
    if (!points_to(fd, target, sizeof target)) continue;
    int read_end = strncmp(target, "pipe:", 5) ? -1 : other_end(fd, target);
    template.kind[fd] = !strcmp(target, "anon_inode:[eventfd]")     ? 'e'
                        : !strcmp(target, "anon_inode:[eventpoll]") ? 'p'
                        : read_end >= 0                             ? 'w'
                                                                    : 0;
    template.pipe[fd].read_end = read_end;
    template.pipe[fd].inode = inode_of(fd);
    template.end = fd + 1;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC)) give_up("fcntl"); // not inherited by programs of a run
  }
  for (int fd = CHANNEL; fd < template.end; fd++) // fill holes, so that a descriptor that arrives gets a number above
    if (fcntl(fd, F_GETFD) < 0 && dup3(STDIN_FILENO, fd, O_CLOEXEC) < 0) give_up("dup");
}

const char *make_memory_forkable(void) {
  FILE *maps = fopen("/proc/self/maps", "re");
  char line[512], mode[8];
  unsigned long from, to;
  const char *why = maps ? NULL : "no /proc/self/maps";
  while (maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || strstr(line, "[v")) continue;
    if (mode[3] == 's' && mode[1] == 'w') why = "memory that forks would share";
    madvise((void *)from, to - from, MADV_DOFORK);
  }
  if (maps) fclose(maps);
  return why;
}

// Calls `act` for each mapping with this mode whose line contains `part`.
static void for_mappings(const char *mode, const char *part, void (*act)(char *from, char *to)) {
  FILE *maps = fopen("/proc/self/maps", "re");
  char line[512], its_mode[8];
  unsigned long from, to;
  while (maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %7s", &from, &to, its_mode) != 3 || strcmp(its_mode, mode) || !strstr(line, part)) continue;
    from = (from + HUGE_PAGE - 1) & -(unsigned long)HUGE_PAGE;
    to &= -(unsigned long)HUGE_PAGE;
    if (from < to) act((char *)from, (char *)to);
  }
  if (maps) fclose(maps);
}

// A huge page is forked and released in one step, and its code causes no page faults. Where the kernel has no huge pages,
// all of this does nothing.
static void collapse(char *from, char *to) {
  for (; from < to; from += HUGE_PAGE) madvise(from, HUGE_PAGE, MADV_COLLAPSE);
}

// A program's code is mapped from its file; only a copy can be in huge pages. Nothing that is called here may be in it.
static void move_code(char *from, char *to) {
  size_t size = (size_t)(to - from);
  char *area = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (area == MAP_FAILED) return;
  char *copy = (char *)(((uintptr_t)area + HUGE_PAGE - 1) & -(uintptr_t)HUGE_PAGE);
  int moved = 0;
  if (madvise(copy, size, MADV_HUGEPAGE) == 0) {
    memcpy(copy, from, size);
    moved = mprotect(copy, size, PROT_READ | PROT_EXEC) == 0 &&
            mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, from) == from;
  }
  if (copy > area) munmap(area, (size_t)(copy - area));
  if (!moved) munmap(copy, size);
  munmap(copy + size, (size_t)(area + HUGE_PAGE - copy));
}

void move_code_to_huge_pages(const char *program) { for_mappings("r-xp", program, move_code); }

// Waits for an order, and ends the template when no more can come. Ignores a malformed message.
static void receive(struct fork_fds *fds) {
  for (;;) {
    int count;
    ssize_t size = receive_message(template.control, template.plan, sizeof template.plan, (int *)fds, COUNT_OF(*fds), &count);
    if (size == 0 || (size < 0 && errno != EBADMSG)) _exit(0);
    template.plan_bytes = (size_t)size;
    if (size > 0 && count == COUNT_OF(*fds)) return;
    close_all((int *)fds, count);
  }
}

static void enter(int fd, int kind) {
  if (setns(fd, kind)) give_up("setns (needs CAP_SYS_ADMIN and CAP_SYS_CHROOT)");
}

static void replace(int fd, int by) {
  if (by < 0 || dup3(by, fd, O_CLOEXEC) < 0) give_up("dup");
  close(by);
}

// Replaces a descriptor of the template with a new one of its kind.
static void renew(int fd) {
  int ends[2];
  switch (template.kind[fd]) {
  case 'e':
    replace(fd, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    break;
  case 'p':
    replace(fd, epoll_create1(EPOLL_CLOEXEC));
    break;
  case 'w': // unless libuv has already replaced it, and filled the new pipe
    if (inode_of(fd) != template.pipe[fd].inode) break;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) give_up("pipe");
    replace(template.pipe[fd].read_end, ends[0]);
    replace(fd, ends[1]);
  }
}

// In the run: keeps its own descriptors and nothing else.
static void become_run(const struct fork_fds *fds, void (*begin)(void *), void *argument) {
  // Programs that the run starts inherit its standard streams, but never its channel.
  if (dup3(fds->channel, CHANNEL, O_CLOEXEC) < 0 || dup2(fds->output, STDOUT_FILENO) < 0 ||
      dup2(fds->errors, STDERR_FILENO) < 0)
    give_up("dup");
  enter(fds->mount_namespace, CLONE_NEWNS);
  enter(fds->ipc_namespace, CLONE_NEWIPC);
  enter(fds->uts_namespace, CLONE_NEWUTS);
  if (syscall(SYS_close_range, template.end, ~0u, 0)) give_up("close_range");
  for (int fd = CHANNEL + 1; fd < template.end; fd++) renew(fd);
  begin(argument);
  carry_out(template.plan, template.plan_bytes);
}

// No run may have the number of its template: libraries such as OpenSSL detect a fork by it, and would otherwise keep the
// template's random state. Returns as fork(2) does.
static pid_t fork_with_another_number(void) {
  for (;;) {
    pid_t run = fork();
    if (run == 0 && getpid() == template.number) _exit(0);
    if (run != template.number) return run;
    waitpid(run, NULL, 0);
  }
}

// Counts the CPU time of the calling process and of all that are forked from it, whether or not anybody waits for them to
// end. -1 if the kernel does not allow it.
static int count_cpu_time(void) {
  struct perf_event_attr what = {.type = PERF_TYPE_SOFTWARE, .size = PERF_ATTR_SIZE_VER0, .config = PERF_COUNT_SW_TASK_CLOCK,
                                 .inherit = 1, .exclude_kernel = 1, .exclude_hv = 1}; // otherwise it needs more privileges
  return (int)syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

// Sends a supervisor its run's process id, or a negative error number, and the counter if there is one.
static void answer(int to, int value, int counter) {
  struct number number = encode_number(value);
  send_message(to, &number, sizeof number, &counter, counter >= 0);
}

// Forks through a process that shares our memory and ends at once: the run is then a child of process 1 of its own
// namespace, which learns of its end from the kernel. Informs the supervisor; returns 0 only in the run.
static pid_t __attribute__((noinline)) fork_below(int pid_namespace, int supervisor) {
  template.run = -1;
  if (setns(pid_namespace, CLONE_NEWPID)) {
    answer(supervisor, -errno, -1);
    return -1;
  }
  pid_t between = vfork();
  if (between == 0) {
    int counter = count_cpu_time();
    pid_t run = fork_with_another_number();
    if (run == 0) return 0;
    template.run = run;
    answer(supervisor, run < 0 ? -errno : run, counter);
    _exit(0);
  }
  if (setns(template.pid_namespace, CLONE_NEWPID)) abort(); // later forks would land among a run's processes
  if (between > 0) waitpid(between, NULL, 0);
  else answer(supervisor, -errno, -1);
  return template.run;
}

static int serve_one(void (*begin)(void *), void *argument) {
  struct fork_fds fds;
  receive(&fds);
  pid_t run = fork_below(fds.pid_namespace, fds.answer);
  if (run == 0) {
    become_run(&fds, begin, argument);
    return 1;
  }
  close_all((int *)&fds, COUNT_OF(fds));
  return 0;
}

void serve_orders(int control, void (*begin)(void *), void *argument) {
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  template.number = getpid();
  for_mappings("rw-p", "", collapse);
  template.pid_namespace = moved_up(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
  template.control = moved_up(control);
  survey_descriptors();
  static const char ready[] = "ready";
  (void)!write(template.control, ready, sizeof ready - 1);
  while (!serve_one(begin, argument)) {
  }
}
