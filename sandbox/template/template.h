#ifndef ZMESH_TEMPLATE_H
#define ZMESH_TEMPLATE_H
// A template: a booted runtime that runs are forked from.

// Forks one process for each order that comes over the socket, and returns in these processes only, confined as the
// order says. Before that, `begin` mends what a fork breaks in the runtime. Ends the template when the socket closes.
void serve_orders(int control, void (*begin)(void *), void *argument);

// Makes the code of the program of this path's end cheaper to fork, where the kernel has huge pages.
void move_code_to_huge_pages(const char *program);

// For a V8, which keeps its heap out of forks. Returns NULL, or why this process cannot be forked into independent ones.
const char *make_memory_forkable(void);

#endif
