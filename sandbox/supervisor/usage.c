#define _GNU_SOURCE
#include "usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAPPED_PER_TABLE_BYTE = 512, SMALL_TABLES = 8 << 20 }; // a table of one page maps 512 pages

static FILE *open_of(pid_t pid, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  return fopen(path, "re");
}

// Sums up the lines "NAME: kilobytes kB" of a file for these names.
static uint64_t kilobytes_in(FILE *file, const char *name, const char *other) {
  char line[256];
  uint64_t sum = 0;
  while (fgets(line, sizeof line, file)) {
    size_t length = strcspn(line, ":");
    if (line[length] != ':') continue;
    line[length] = 0;
    if (!strcmp(line, name) || (other && !strcmp(line, other))) sum += strtoull(line + length + 1, NULL, 10);
  }
  fclose(file);
  return sum;
}

// Memory that the kernel holds for a process's page tables; counted only where it can be large.
static uint64_t page_tables(pid_t pid, uint64_t mapped_bytes) {
  if (mapped_bytes / MAPPED_PER_TABLE_BYTE < SMALL_TABLES) return 0;
  FILE *file = open_of(pid, "status");
  return file ? kilobytes_in(file, "VmPTE", NULL) * 1024 : 0;
}

// Adds one process; returns what it has mapped, or 0 if it is gone.
static uint64_t add(pid_t pid, struct usage *sum) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  ssize_t size = read(file, text, sizeof text - 1);
  close(file);
  text[size > 0 ? size : 0] = 0;
  const char *after_name = strrchr(text, ')');
  unsigned long long faults_of_children, spent[4], mapped;
  long long pages;
  // Fields from the state on, the third of proc_pid_stat(5): page faults of children it waited for are 11, CPU time in
  // ticks is 14 to 17, sizes are 23 and 24.
  if (!after_name || sscanf(after_name + 1,
                            " %*c %*s %*s %*s %*s %*s %*s %*s %llu %*s %*s %llu %llu %llu %llu %*s %*s %*s %*s %*s %llu %lld",
                            &faults_of_children, &spent[0], &spent[1], &spent[2], &spent[3], &mapped, &pages) != 7)
    return 0;
  sum->processes++;
  sum->had_children |= faults_of_children > 0;
  sum->cpu_seconds += (double)(spent[0] + spent[1] + spent[2] + spent[3]) / (double)sysconf(_SC_CLK_TCK);
  sum->memory_bytes += (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) + page_tables(pid, mapped);
  return mapped;
}

static pid_t next_process(DIR *folder) {
  struct dirent *entry;
  while ((entry = readdir(folder))) {
    pid_t pid = (pid_t)atol(entry->d_name); // 0 for what is not a number
    if (pid > 1) return pid;
  }
  return 0;
}

struct usage measure(pid_t pid) {
  struct usage sum = {0};
  if (pid) {
    add(pid, &sum);
    return sum;
  }
  DIR *folder = opendir("/proc");
  while (folder && (pid = next_process(folder))) add(pid, &sum);
  if (folder) closedir(folder);
  return sum;
}

int measure_one(pid_t pid, uint64_t *peak_bytes, double *cpu_seconds) {
  clockid_t clock;
  struct timespec spent;
  FILE *file = open_of(pid, "status");
  *peak_bytes = file ? kilobytes_in(file, "VmHWM", NULL) * 1024 : 0;
  if (!*peak_bytes || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &spent)) return 0;
  *cpu_seconds = (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
  return 1;
}

uint64_t exact_memory(void) {
  uint64_t total = 0;
  pid_t pid;
  DIR *folder = opendir("/proc");
  while (folder && (pid = next_process(folder))) {
    struct usage of_it = {0};
    uint64_t mapped = add(pid, &of_it);
    FILE *file = open_of(pid, "smaps_rollup");
    uint64_t held = file ? kilobytes_in(file, "Pss_Anon", "Pss_Shmem") * 1024 : 0;
    // If it has forbidden inspection, all of its memory counts.
    total += held ? held + page_tables(pid, mapped) : of_it.memory_bytes;
  }
  if (folder) closedir(folder);
  return total;
}

// The kernel shows each process the locks of its own namespace, and everybody those of open file descriptions.
uint64_t count_locks(uint64_t enough) {
  char line[256];
  uint64_t count = 0;
  FILE *file = fopen("/proc/locks", "re");
  while (file && count < enough && fgets(line, sizeof line, file)) count += !strstr(line, "OFDLCK");
  if (file) fclose(file);
  return count;
}
