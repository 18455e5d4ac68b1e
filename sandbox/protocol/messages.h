#ifndef ZMESH_MESSAGES_H
#define ZMESH_MESSAGES_H
// Messages with descriptors over a Unix socket.
#include <stddef.h>
#include <sys/types.h>

// Bytes of the next message, and how many descriptors came with it; -1 and errno EBADMSG, with those closed, if it is
// longer than `size` or has more than `most`. 0 bytes: the other end is closed.
ssize_t receive_message(int socket, void *data, size_t size, int *descriptors, int most, int *count);

// Returns whether it was sent.
int send_message(int socket, const void *data, size_t size, const int *descriptors, int count);

void close_all(const int *descriptors, int count);

#endif
