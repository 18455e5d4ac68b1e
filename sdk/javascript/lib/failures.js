'use strict';
// From whatever user code throws to the error that the caller sees: type, message and the user's own lines.

const util = require('node:util');
const path = require('node:path');
const network = require('./network.js');
const { asEditorsCount, withinFolder } = require('./places.js');
const { fullStackOf } = require('./stacks.js');
const { describeSyntaxError, excerpt } = require('./syntax_errors.js');

const RUNTIME = `${path.dirname(__dirname)}/`;
const MAX_MESSAGE = 16 * 1024;
const MAX_STACK = 64 * 1024;
const MAX_CAUSES = 8;
const LIMIT_OF_CODE = {
  EFBIG: 'file_size_limit',
  ENOSPC: 'workspace_limit',
  EDQUOT: 'workspace_limit',
  EMFILE: 'open_files_limit',
  ENFILE: 'open_files_limit',
  ENOMEM: 'memory_limit',
  ERR_WORKER_INIT_FAILED: 'process_limit',
  ERR_WORKER_OUT_OF_MEMORY: 'memory_limit',
};
const NO_MEMORY = /^(Array buffer allocation failed|WebAssembly\.Memory\(\): could not allocate memory)/;
const NO_PACKAGE = 'packages are named in package.json or deno.json, or imported as npm:NAME';
const MISSING_PACKAGE = /^Cannot find (?:module|package) '(?![./#])[^']+'[^\n]*/;
const { stringify } = JSON;

/** A failure with an error type of the platform, such as invalid_result. */
class Failure extends Error {
  constructor(type, message, stack = null) {
    super(message);
    this.type = type;
    this.userStack = stack;
  }
}

/** The body of the frame that tells the sandbox what user code threw: that of a single file, or of a folder. */
function failureFrame(thrown, { filename, folder }) {
  const { type, message, stack } =
    thrown instanceof Failure
      ? { type: thrown.type, message: thrown.message, stack: thrown.userStack }
      : describe(thrown, filename, folder);
  const places = stack && asEditorsCount(withinFolder(stack, folder));
  return stringify({ type, message: short(message, MAX_MESSAGE), stack: places && short(places, MAX_STACK) });
}

function describe(thrown, filename, folder) {
  if (!isError(thrown)) return { type: 'Error', message: asText(thrown), stack: null };
  const isOwn = (line) => isUserLine(line, filename, folder);
  if (isSyntaxErrorIn(thrown, folder)) return describeSyntaxError(thrown, ownFrames(thrown, isOwn));
  return {
    type: limitHit(thrown) ?? className(thrown),
    message: network.explained(explained(messageOf(thrown), thrown, folder), thrown),
    stack: userStack(thrown, isOwn),
  };
}

/** With a hint, where a package is missing, and paths as their author knows them, where a file is. */
function explained(message, error, folder) {
  if (!/^(ERR_)?MODULE_NOT_FOUND$/.test(quietly(() => error.code))) return message;
  if (folder) message = withinFolder(message, folder);
  return !message.includes(NO_PACKAGE) ? message.replace(MISSING_PACKAGE, (line) => `${line} (${NO_PACKAGE})`) : message;
}

/** The stack with the user's own lines only, causes included. */
function userStack(error, isOwn) {
  const parts = [];
  for (let one = error; one != null && parts.length < MAX_CAUSES; one = quietly(() => one.cause)) {
    const text = isError(one) ? framesOf(one, isOwn) : asText(one);
    parts.push(parts.length ? `caused by: ${text}` : text);
    for (const inner of quietly(() => [...one.errors]) ?? []) {
      if (parts.length < MAX_CAUSES && isError(inner)) parts.push(`one of them: ${framesOf(inner, isOwn)}`);
    }
  }
  return parts.join('\n');
}

function framesOf(error, isOwn) {
  return [`${className(error)}: ${messageOf(error)}`, ...ownFrames(error, isOwn)].join('\n');
}

function ownFrames(error, isOwn) {
  const stack = String(quietly(() => fullStackOf(error)) ?? '');
  return stack.split('\n').filter((line) => /^\s+at /.test(line) && isOwn(line));
}

/** Whether code in this folder does not compile. */
function isSyntaxErrorIn(error, folder) {
  const place = quietly(() => error instanceof SyntaxError && excerpt(error)) || '';
  return place.startsWith(`${folder}/`) || place.startsWith(`file://${folder}/`);
}

function isUserLine(line, filename, folder) {
  if (line.includes(RUNTIME)) return false;
  if (line.includes(`${folder}/`)) return true;
  return line.includes(`(${filename}:`) || line.includes(` ${filename}:`);
}

function className(error) {
  const name = quietly(() => String(error.name)) ?? '';
  if (name && name.toLowerCase() !== 'error') return name;
  return quietly(() => error.constructor.name) || 'Error';
}

function messageOf(error) {
  return quietly(() => String(error.message)) ?? '<the message could not be read>';
}

function limitHit(error) {
  const code = quietly(() => error.code);
  if (code === 'EAGAIN' && /^(spawn|fork)/.test(quietly(() => error.syscall) ?? '')) return 'process_limit';
  if (error instanceof RangeError && NO_MEMORY.test(messageOf(error))) return 'memory_limit';
  return Object.hasOwn(LIMIT_OF_CODE, code) ? LIMIT_OF_CODE[code] : undefined;
}

function asText(thrown) {
  if (typeof thrown === 'string') return thrown;
  return quietly(() => util.inspect(thrown)) ?? '<a value that could not be shown>';
}

function isError(value) {
  return quietly(() => util.types.isNativeError(value) || value instanceof Error) ?? false;
}

/** Reading a property may run user code, which may throw: then undefined. */
function quietly(read) {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function short(text, length) {
  return text.length <= length ? text : `${text.slice(0, length)} … [cut: ${text.length} characters]`;
}

module.exports = { Failure, NO_PACKAGE, failureFrame, limitHit };
