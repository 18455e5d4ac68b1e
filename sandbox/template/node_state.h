#ifndef ZMESH_NODE_STATE_H
#define ZMESH_NODE_STATE_H
// State of a Node.js that a fork would share with its template: random states and its start time.

// Finds this state in the template; `draw` makes V8 draw one random number. Returns NULL, or what was not found.
const char *find_inherited(void (*draw)(void *), void *draw_argument);

// In a forked process: resets all of it.
void renew_inherited(void);

#endif
