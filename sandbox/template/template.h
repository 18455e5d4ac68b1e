#ifndef ZMESH_TEMPLATE_H
#define ZMESH_TEMPLATE_H
// A template: a booted runtime that runs are forked from.

// Forks one process for each order that arrives on the socket, and returns only in these processes, confined as ordered.
// Before that, `begin` repairs what a fork breaks in the runtime. Ends the template when the socket closes.
void serve_orders(int control, void (*begin)(void *), void *argument);

// Makes the code of the program whose path ends like this cheaper to fork, if the kernel has huge pages.
void move_code_to_huge_pages(const char *program);

// For V8, which keeps its heap out of forks. Returns NULL, or why this process cannot be forked into independent ones.
const char *make_memory_forkable(void);

#endif
