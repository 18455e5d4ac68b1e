// Node.js as a template: the native module that node_template.js loads.
#include <node_api.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <uv.h>

#include "messages.h"
#include "plan.h"
#include "node_state.h"
#include "template.h"

enum { LARGEST_MESSAGE = 65536, PATIENCE_MS = 2000 };

struct call {
  napi_env env;
  napi_value function;
};

static void call_draw(void *argument) {
  struct call *call = argument;
  napi_value global, result;
  napi_get_global(call->env, &global);
  napi_call_function(call->env, global, call->function, 0, NULL, &result);
}

static void begin(void *loop) {
  if (uv_loop_fork(loop)) give_up("uv_loop_fork");
}

// serve(control, draw): `draw` makes V8 draw one random number. Returns the process number, only in each run.
static napi_value serve(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result;
  size_t count = 2;
  int32_t control;
  uv_loop_t *loop;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_int32(env, arguments[0], &control) || napi_get_uv_event_loop(env, &loop)) return NULL;
  struct call call = {env, arguments[1]};
  const char *why = find_inherited(call_draw, &call);
  if (!why) why = make_memory_forkable();
  if (why) {
    napi_throw_error(env, NULL, why);
    return NULL;
  }
  move_code_to_huge_pages("/bin/node\n");
  serve_orders(control, begin, loop);
  renew_inherited();
  napi_create_int32(env, getpid(), &result);
  return result;
}

// reallyExit(code) of Node.js, for a fork: it does not wait for threads, since the template's do not exist there.
static napi_value really_exit(napi_env env, napi_callback_info info) {
  napi_value code;
  size_t count = 1;
  int32_t number = 0;
  napi_get_cb_info(env, info, &count, &code, NULL, NULL);
  if (count > 0) napi_get_value_int32(env, code, &number);
  _exit(number);
}

// receive(socket, patient): the next message as a Buffer, and the descriptor that came with it, null without one. Who is
// patient waits for it as long as it takes.
static napi_value receive(napi_env env, napi_callback_info info) {
  static char data[LARGEST_MESSAGE];
  napi_value arguments[2], pair, value;
  size_t count = 2;
  int from = -1, descriptor = -1, descriptors = 0;
  bool patient = false;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (napi_get_value_int32(env, arguments[0], &from) || napi_get_value_bool(env, arguments[1], &patient)) return NULL;
  struct pollfd waiting = {.fd = from, .events = POLLIN};
  ssize_t size = 0;
  if (poll(&waiting, 1, patient ? -1 : PATIENCE_MS) == 1) size = receive_message(from, data, sizeof data, &descriptor, 1, &descriptors);
  napi_create_array_with_length(env, 2, &pair);
  napi_create_buffer_copy(env, size > 0 ? (size_t)size : 0, data, NULL, &value);
  napi_set_element(env, pair, 0, value);
  if (descriptors == 0) napi_get_null(env, &value);
  else napi_create_int32(env, descriptor, &value);
  napi_set_element(env, pair, 1, value);
  return pair;
}

// unread(descriptor): whether a pipe holds bytes that its reader has not read yet.
static napi_value unread(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  size_t count = 1;
  int descriptor = -1, bytes = 0;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (napi_get_value_int32(env, argument, &descriptor)) return NULL;
  napi_get_boolean(env, ioctl(descriptor, FIONREAD, &bytes) == 0 && bytes > 0, &result);
  return result;
}

static void export(napi_env env, napi_value exports, const char *name, napi_callback implementation) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, implementation, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}

NAPI_MODULE_INIT() {
  export(env, exports, "serve", serve);
  export(env, exports, "reallyExit", really_exit);
  export(env, exports, "receive", receive);
  export(env, exports, "unread", unread);
  return exports;
}
