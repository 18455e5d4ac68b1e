'use strict';
// Lines as editors count them. V8 also ends lines at U+2028 and U+2029; editors and git do not.

const { pathToFileURL } = require('node:url');

const ENDS_FOR_V8 = /\r\n|[\n\r\u2028\u2029]/g;
const ENDS = /\r\n|[\n\r]/;
const sources = new Map(); // of files whose lines V8 counts otherwise

/** Remembers the text of a file, so that places in it can be given as its author sees them. */
function rememberSource(filename, source) {
  if (/[\u2028\u2029]/.test(source)) sources.set(filename, source);
}

/** The text with each `file:line` and `file:line:column` as editors count. */
function asEditorsCount(text) {
  for (const [filename, source] of sources) {
    const place = new RegExp(`${RegExp.escape(filename)}:(\\d+)(:(\\d+))?`, 'g');
    text = text.replace(place, (_, line, hasColumn, column) => {
      const before = source.slice(0, startOfLine(source, Number(line)) + Number(column ?? 1) - 1).split(ENDS);
      return `${filename}:${before.length}${hasColumn ? `:${before.at(-1).length + 1}` : ''}`;
    });
  }
  return text;
}

/** The text with paths relative to this folder. */
function withinFolder(text, folder) {
  return text.replaceAll(urlsIn(folder), decoded).replaceAll(`${folder}/`, '');
}

function urlsIn(folder) {
  return new RegExp(`${RegExp.escape(pathToFileURL(folder).href)}/([^\\s()]*)`, 'g');
}

function decoded(url, file) {
  try {
    return decodeURIComponent(file);
  } catch {
    return file;
  }
}

function startOfLine(source, line) {
  ENDS_FOR_V8.lastIndex = 0;
  for (let count = 1; count < line && ENDS_FOR_V8.test(source); ) count++;
  return ENDS_FOR_V8.lastIndex;
}

module.exports = { asEditorsCount, rememberSource, withinFolder };
