// A plan: the system calls that confine a process, computed by confinement.py and only carried out here.
#include <stddef.h>

// Carries out a whole plan, or ends the process with what failed on standard error.
void carry_out(char *plan, size_t size);

// Ends the process: what it was about to do must not go on without this step.
_Noreturn void give_up(const char *what);
