#define _GNU_SOURCE
#include "messages.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_DESCRIPTORS = 16 };

void close_all(const int *descriptors, int count) {
  for (int i = 0; i < count; i++) close(descriptors[i]);
}

static int copy_descriptors(struct msghdr *message, int *descriptors) {
  struct cmsghdr *head = CMSG_FIRSTHDR(message);
  if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) return 0;
  size_t bytes = head->cmsg_len - CMSG_LEN(0);
  memcpy(descriptors, CMSG_DATA(head), bytes);
  return (int)(bytes / sizeof *descriptors);
}

ssize_t receive_message(int socket, void *data, size_t size, int *descriptors, int most, int *count) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
  int found[MOST_DESCRIPTORS];
  struct iovec part = {data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t received;
  *count = 0;
  do received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -1;
  int came = copy_descriptors(&message, found);
  if (came > most || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
    close_all(found, came);
    errno = EBADMSG;
    return -1;
  }
  if (came > 0) memcpy(descriptors, found, (size_t)came * sizeof *found);
  *count = came;
  return received;
}

int send_message(int socket, const void *data, size_t size, const int *descriptors, int count) {
  _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))] = {0};
  struct iovec part = {(void *)data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  size_t bytes = (size_t)count * sizeof *descriptors;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(bytes);
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(bytes);
    memcpy(CMSG_DATA(head), descriptors, bytes);
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL) >= 0;
}
