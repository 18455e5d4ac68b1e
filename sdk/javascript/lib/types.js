'use strict';
// How values of the database arrive in JavaScript where the driver's own choice would surprise.

const pg = require('pg');

/** A whole number while it is exact as one, else its digits as text. */
function wholeNumber(text) {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}

const asText = (text) => text;
const arrayOf = (parse) => (text) => pg.types.arrayParser.create(text, (item) => (item === null ? null : parse(item))).parse();

const parsers = new Map([
  [20, wholeNumber], // int8
  [1016, arrayOf(wholeNumber)],
  [1082, asText], // date: a Date would be a midnight somewhere, perhaps of the day before
  [1182, arrayOf(asText)],
  [1231, arrayOf(asText)], // numeric[], exact as numeric is
]);

const types = {
  getTypeParser: (oid, format) => (format !== 'binary' && parsers.get(oid)) || pg.types.getTypeParser(oid, format),
};

module.exports = { types };
