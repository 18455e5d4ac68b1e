#ifndef ZMESH_PLAN_H
#define ZMESH_PLAN_H
// A plan: the system calls that confine a process, computed by run_plan.py and only carried out here.
#include <stddef.h>

// What is wrong with the layout of a plan; NULL where all of it lies within it.
const char *fault_of_plan(const char *plan, size_t size);

// Carries out a whole plan, or ends the process with what failed on standard error. Of a malformed one it does nothing.
void carry_out(char *plan, size_t size);

// Ends the process with `what` and errno on standard error: what it was about to do must not go on without this step.
_Noreturn void give_up(const char *what);

#endif
