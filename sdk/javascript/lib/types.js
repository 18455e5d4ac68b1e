'use strict';
// How database values arrive in JavaScript where the driver's own choice would surprise or lose something.

const pg = require('pg');

const INTERVAL = 1186;
const TEXT_ARRAY = 1009;

/** A number if it can hold the value exactly, otherwise its digits as text. */
function wholeNumber(text) {
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}

const asText = (text) => text;
const driversOwn = (oid) => pg.types.getTypeParser(oid, 'text');
const arrayOf = (parse) => (text) => pg.types.arrayParser.create(text, (item) => (item === null ? null : parse(item))).parse();

/** A Date, or text for values outside its range: infinity and distant years. */
function timestamp(text) {
  const date = driversOwn(1184)(text);
  return date instanceof Date && !Number.isNaN(date.getTime()) ? date : text;
}

/** The driver's object, or text for what it cannot read: infinity, and other settings of intervalstyle. */
function interval(text) {
  const read = driversOwn(INTERVAL)(text);
  return Object.keys(read).length === 0 && /[1-9a-z]/i.test(text) ? text : read;
}

const Interval = driversOwn(INTERVAL)('1 day').constructor;
Object.defineProperty(Interval.prototype, 'toJSON', { value: isoDuration, writable: true, configurable: true });

function isoDuration() {
  const { years, months, days, hours, minutes, seconds = 0, milliseconds = 0 } = this;
  const fraction = (seconds + milliseconds / 1000).toFixed(6).replace(/\.?0+$/, '');
  const texts = (parts) => parts.map(([number, unit]) => (Number(number) ? `${number}${unit}` : '')).join('');
  const date = texts([[years, 'Y'], [months, 'M'], [days, 'D']]);
  const time = texts([[hours, 'H'], [minutes, 'M'], [fraction, 'S']]);
  return `P${date}${time && 'T'}${time}`.replace(/^P$/, 'PT0S');
}


/** A point or circle as the driver's object, in a form that can be stored again. */
const shape = (oid, toText) => (text) =>
  Object.defineProperty(driversOwn(oid)(text), 'toPostgres', { value: function toPostgres() { return toText(this); } });
const point = shape(600, ({ x, y }) => `(${x},${y})`);
const circle = shape(718, ({ x, y, radius }) => `<(${x},${y}),${radius}>`);

const parsers = new Map([
  [20, wholeNumber], // int8
  [1016, arrayOf(wholeNumber)],
  [600, point],
  [1017, arrayOf(point)],
  [718, circle],
  [1082, asText], // date: a Date would be midnight in some time zone, perhaps of the day before
  [1182, arrayOf(asText)],
  [1114, timestamp],
  [1115, arrayOf(timestamp)],
  [1184, timestamp],
  [1185, arrayOf(timestamp)],
  [INTERVAL, interval],
  [1187, arrayOf(interval)],
  [1231, arrayOf(asText)], // numeric[], as exact as numeric
]);

// Arrays of built-in types whose elements are text: name, xml, line, lseg, path, polygon, macaddr, macaddr8, bit, varbit,
// tsvector, tsquery, pg_lsn, ranges and multiranges.
const ARRAYS_OF_TEXT = [
  1003, 143, 629, 1018, 1019, 1027, 1040, 775, 1561, 1563, 3643, 3645, 3221, 3905, 3907, 3909, 3911, 3913, 3927, 6150, 6151,
  6152, 6153, 6155, 6157,
];
for (const oid of ARRAYS_OF_TEXT) parsers.set(oid, driversOwn(TEXT_ARRAY));

const types = {
  getTypeParser: (oid, format) => (format !== 'binary' && parsers.get(oid)) || pg.types.getTypeParser(oid, format),
};

module.exports = { types };
