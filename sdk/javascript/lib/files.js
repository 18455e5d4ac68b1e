'use strict';
// The files of a function that is a folder, written into the working directory before its code is loaded.

const fs = require('node:fs');
const path = require('node:path');
const { Failure, limitHit } = require('./failures.js');

const { rmdirSync, unlinkSync } = fs; // user code may replace the properties of fs
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const INVALID_PARTS = new Set(['', '.', '..']);
const LONGEST_SHOWN = 200;

/**
 * Writes the entry file of the job and the others, which came as JSON: path → text or {base64}. Then works in the
 * function's own folder. Returns the others. Those of a developer, for a debugger, are in place.
 */
function writeFiles(job, others) {
  const folders = new Set(['.']);
  const files = others ? parsed(others) : {};
  if (!job.in_place) {
    writeFile(job.entry_file, job.code, folders);
    for (const [file, content] of Object.entries(files)) writeFile(file, content, folders);
  }
  process.chdir(ownFolder(job.entry_file, Object.keys(files)));
  return files;
}

/** The top folder of the entry file if there are shared folders (named _…) beside it, otherwise the root. */
function ownFolder(entryFile, files) {
  const [first, ...rest] = entryFile.split('/');
  return rest.length && !first.startsWith('_') && files.some((file) => /^_.*\//.test(file)) ? first : '.';
}

function parsed(files) {
  const found = valueOf(files.toString('utf8'));
  if (typeof found === 'object' && found !== null && !Array.isArray(found)) return found;
  throw new Failure('invalid_files', `the function's files are not a JSON object (got ${typeof found})`);
}

function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Failure('invalid_files', `the function's files are not JSON: ${error.message}`);
  }
}

function writeFile(file, content, folders) {
  const data = bytesOf(file, content);
  check(file);
  try {
    const folder = path.dirname(file);
    if (!folders.has(folder)) fs.mkdirSync(folder, { recursive: true });
    folders.add(folder);
    fs.writeFileSync(file, data, { flag: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW });
  } catch (error) {
    throw new Failure(limitHit(error) ?? 'invalid_files', `the function's file ${shown(file)} cannot be written: ${error.message}`);
  }
}

/** Removes files that were written, and folders that are empty then. */
function removeFiles(files) {
  for (const file of files) {
    try {
      unlinkSync(file);
      for (let folder = path.dirname(file); folder !== '.'; folder = path.dirname(folder)) rmdirSync(folder);
    } catch {
      // user code has removed it, or has put something beside it
    }
  }
}

function check(file) {
  if (!file.includes('\0') && !file.split('/').some((part) => INVALID_PARTS.has(part))) return;
  throw new Failure('invalid_files', `${shown(file)} is not the path of a file inside the function's folder`);
}

function bytesOf(file, content) {
  if (typeof content === 'string' && content.isWellFormed()) return content;
  if (typeof content?.base64 === 'string') return decoded(file, content.base64);
  throw new Failure('invalid_files', `the content of the file ${shown(file)} is neither text nor {"base64": …}`);
}

/** Buffer.from() skips characters that are not base64, so the length shows whether the text was valid. */
function decoded(file, lines) {
  const text = lines.includes('\n') ? lines.replace(/\s+/g, '') : lines; // as PostgreSQL writes it
  const data = Buffer.from(text, 'base64');
  const padding = /=*$/.exec(text.slice(-2))[0].length;
  if (text.length % 4 === 0 && data.length === (text.length / 4) * 3 - padding) return data;
  throw new Failure('invalid_files', `the content of the file ${shown(file)} cannot be decoded: it is not base64`);
}

function shown(file) {
  const text = JSON.stringify(file.slice(0, LONGEST_SHOWN));
  return file.length > LONGEST_SHOWN ? `${text}…` : text;
}

module.exports = { removeFiles, writeFiles };
