#ifndef ZMESH_PLAN_H
#define ZMESH_PLAN_H
// A plan: the system calls that confine a process, computed by run_plan.py and only carried out here.
#include <stddef.h>

// What is wrong with the layout of a plan; NULL if all of it lies within the plan.
const char *fault_of_plan(const char *plan, size_t size);

// Carries out a whole plan, or ends the process with the failed step on standard error. Ignores a malformed one.
void carry_out(char *plan, size_t size);

// Ends the process with `what` and errno on standard error: it must not continue without this step.
_Noreturn void give_up(const char *what);

#endif
