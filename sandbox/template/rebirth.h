// What a forked Node.js has inherited and a started one would have for itself: random states and its time of birth.

// Finds these in the template; `draw` makes V8 draw one random number. Returns NULL, or what was not found.
const char *find_inherited(void (*draw)(void *), void *draw_argument);

// In a forked process: everything anew.
void renew_inherited(void);
