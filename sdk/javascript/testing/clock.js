'use strict';
// A clock that stands still until the test moves it.

/** The time of the platform in a test: what due times are computed from. It does not change what `new Date()` says. */
class Clock {
  #now = new Date();

  get now() {
    return this.#now;
  }

  /** Goes to this time. */
  set(time) {
    const date = new Date(time);
    if (Number.isNaN(date.getTime())) throw new TypeError(`not a time: ${String(time)}`);
    this.#now = date;
  }

  /** Goes forward by seconds. */
  advance(seconds) {
    this.set(this.#now.getTime() + seconds * 1000);
  }
}

module.exports = { Clock };
