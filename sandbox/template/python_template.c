// Python as a template: called through ctypes by python_template.py.
#include <stddef.h>

#include "template.h"

static void begin(void *nothing) { (void)nothing; }

__attribute__((visibility("default"))) void serve_forks(int control) { serve_orders(control, begin, NULL); }
