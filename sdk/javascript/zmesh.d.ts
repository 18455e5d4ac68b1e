/// <reference lib="es2024" />
/// <reference lib="dom" />
// Types of the zmesh object, for editors. Copy this file beside your functions:
//
//   JavaScript   /** @type {import('./zmesh').Handler<{ id: string }>} */
//                exports.handler = async (payload, zmesh) => { … };
//   TypeScript   import type { Zmesh } from './zmesh';
//                export const handler = async (payload: { id: string }, zmesh: Zmesh) => { … };

/** A row, by column name. int8 is a number while exact, numeric and date are text, timestamps are Date where one can hold
 * them. docs/reference/values.md has every type. */
export type Row = Record<string, any>;

/** A function: what it returns becomes JSON, or the raw answer when it is a response. What a generator yields goes out at once. */
export type Handler<Payload = any> = (payload: Payload, zmesh: Zmesh) => unknown;

export interface Zmesh {
  /** The project's own database. */
  readonly db: Database;
  /** The function's environment variables; a missing one is undefined. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly projectId: string;
  /** Which run this is. */
  readonly invocation: {
    readonly id: string | null;
    readonly attempt: number;
    readonly function: string;
    readonly version: number | null;
    /** What has created it: a call over HTTP, SQL, a schedule, a webhook or another function. */
    readonly source: 'api' | 'sql' | 'schedule' | 'webhook' | 'change' | 'function' | null;
  };
  /** W3C trace context to send along with requests of your own; functions that you start get it by themselves. */
  readonly traceparent: string | null;
  /** The HTTP request behind this invocation; null when it was invoked another way. */
  readonly request: Request | null;
  /** A raw HTTP response: return it from the handler. Text, bytes, anything JSON, or a generator or stream of them. */
  response(body?: unknown, options?: { status?: number; headers?: ResponseHeaders }): RawResponse;
  /** Runs another function of the project and resolves to its result; rejects with InvocationError. */
  invoke<Result = any>(slug: string, payload?: unknown, options?: InvokeOptions): Promise<Result>;
  /** Runs another function later; resolves to the invocation's id. Part of an open transaction. */
  enqueue(slug: string, payload?: unknown, options?: EnqueueOptions): Promise<string>;
}

/** The project's tables by name, which `zmesh types` fills in: then select, insert, update and remove know their columns. */
export interface Tables {}

/** A row of one of these tables, and what to insert: `TableRow<'orders'>`. */
export type TableRow<T extends keyof Tables> = Tables[T] extends { row: infer R } ? R : never;
export type TableInsert<T extends keyof Tables> = Tables[T] extends { insert: infer I } ? I : never;

/** A condition on columns of one of these tables. */
export type TableColumns<T extends keyof Tables> = {
  readonly [C in keyof TableRow<T>]?: TableRow<T>[C] | null | readonly TableRow<T>[C][];
};

/** Any table that is not among them. */
type OtherTable<T extends string> = T extends keyof Tables ? never : T;

export interface Database {
  /** Connection string of the project's role, for drivers of your own. */
  readonly url: string;
  /** Runs any SQL; placeholders are $1, $2, … */
  query<R = Row>(sql: string, params?: unknown[]): Promise<R[]>;
  /** The first row, or null. */
  queryOne<R = Row>(sql: string, params?: unknown[]): Promise<R | null>;
  /** Inserts one row and resolves to it. Objects and arrays go in as JSON (arrays as such into array columns). A column that
   * is undefined is left out. */
  insert<R = Row, T extends string = string>(table: OtherTable<T>, data: object): Promise<R>;
  insert<T extends keyof Tables>(table: T, data: TableInsert<T>): Promise<TableRow<T>>;
  /** Rows that match a condition; without one, all rows. After a condition in SQL there may be order by and limit. */
  select<R = Row, T extends string = string>(
    table: OtherTable<T>,
    where?: string | null,
    params?: unknown[],
  ): Promise<R[]>;
  select<R = Row, T extends string = string>(table: OtherTable<T>, where: Columns): Promise<R[]>;
  select<T extends keyof Tables>(table: T, where?: string | null, params?: unknown[]): Promise<TableRow<T>[]>;
  select<T extends keyof Tables>(table: T, where: TableColumns<T>): Promise<TableRow<T>[]>;
  /** Updates the matching rows and resolves to them; a condition in SQL numbers its parameters from $1. A column that is
   * undefined keeps its value. */
  update<R = Row, T extends string = string>(
    table: OtherTable<T>,
    data: object,
    where: string,
    params?: unknown[],
  ): Promise<R[]>;
  update<R = Row, T extends string = string>(table: OtherTable<T>, data: object, where: Columns): Promise<R[]>;
  update<T extends keyof Tables>(
    table: T,
    data: Partial<TableInsert<T>>,
    where: string,
    params?: unknown[],
  ): Promise<TableRow<T>[]>;
  update<T extends keyof Tables>(
    table: T,
    data: Partial<TableInsert<T>>,
    where: TableColumns<T>,
  ): Promise<TableRow<T>[]>;
  /** Deletes the matching rows and resolves to them. */
  remove<R = Row, T extends string = string>(table: OtherTable<T>, where: string, params?: unknown[]): Promise<R[]>;
  remove<R = Row, T extends string = string>(table: OtherTable<T>, where: Columns): Promise<R[]>;
  remove<T extends keyof Tables>(table: T, where: string, params?: unknown[]): Promise<TableRow<T>[]>;
  remove<T extends keyof Tables>(table: T, where: TableColumns<T>): Promise<TableRow<T>[]>;
  /** All or nothing: commits when the callback resolves, rolls back when it rejects. Nested: a savepoint. */
  transaction<T>(work: (tx: Database) => Promise<T>): Promise<T>;
}

/** What an interval is read as. */
export interface Interval {
  years?: number;
  months?: number;
  days?: number;
  hours?: number;
  minutes?: number;
  seconds?: number;
  milliseconds?: number;
  toPostgres(): string;
  toISOString(): string;
}

/** A condition: each column equals its value. null means "is null", and an array any of its values. */
export type Columns = Readonly<Record<string, unknown>>;

export interface InvokeOptions {
  /** How long to wait. */
  timeoutMs?: number;
  /** The version to run; left out, the alias "live" or the current version. */
  version?: number;
  /** The alias that chooses the version. */
  alias?: string;
}

export interface EnqueueOptions {
  /** Earliest time to start. */
  runAt?: Date | string;
  /** Seconds until the earliest time to start; instead of runAt. */
  delaySeconds?: number;
  /** Latest time to start; afterwards it ends with an error of type "expired". */
  expiresAt?: Date | string;
  /** -100 to 100; higher goes first. */
  priority?: number;
  /** 1 to 100: the largest number of attempts. */
  maxAttempts?: number;
  /** The same key for the same function again gives the id of the first invocation. */
  idempotencyKey?: string;
  /** Limits how many invocations with the same key run at once: one, or the function's max_concurrency_per_key. */
  concurrencyKey?: string;
  /** URL to which the outcome is sent, signed. */
  callbackUrl?: string;
  /** The version to run; left out, the alias "live" or the current version. */
  version?: number;
  /** The alias that chooses the version. */
  alias?: string;
}

type HeaderValue = string | number | boolean;
/** A list sends the header several times, as Set-Cookie needs. Pairs, Headers and Maps are accepted too. */
export type ResponseHeaders =
  | Record<string, HeaderValue | readonly HeaderValue[]>
  | readonly (readonly [string, HeaderValue])[]
  | { entries(): IterableIterator<[string, string]> };

export interface Request {
  readonly method: string;
  /** The path below the function's own, decoded and without a trailing slash: "/" or "/users/5". */
  readonly path: string;
  /** The path exactly as sent, such as "/a%2Fb/"; empty if nothing follows the function's name. */
  readonly rawPath: string;
  /** The query exactly as sent, without the question mark. */
  readonly rawQuery: string;
  /** "http" or "https", as the client or a trusted proxy says. */
  readonly scheme: string;
  /** Where the function is in the URL, such as "/api/functions/hello"; empty for webhooks. */
  readonly rootPath: string;
  /** Names in lower case. */
  readonly headers: Record<string, string>;
  /** The first value of each name. */
  readonly query: Record<string, string>;
  /** All values of each name. */
  readonly queryAll: Record<string, string[]>;
  /** The raw body, as the sender signed it. */
  readonly body: Uint8Array;
  /** Why the payload is null although there is a body, such as an unsupported type; otherwise null. */
  readonly unparsedReason: string | null;
  /** The body as text, decompressed where it came compressed. */
  text(): string;
  json(): any;
}

export interface RawResponse {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  readonly body: Uint8Array;
  text(): string;
  json(): any;
}

/** What invoke() rejects with: message is the callee's. */
export interface InvocationError extends Error {
  readonly name: 'InvocationError';
  /** The type of the callee's error, such as "TypeError" or "timeout"; "depth_limit" where calls go too deep. */
  readonly type: string;
  readonly function: string;
  /** null where it was not even started. */
  readonly invocationId: string | null;
  readonly status: 'error' | 'timeout' | 'cancelled';
}

// Parts of Node.js that the compiler does not know. With @types/node, set skipLibCheck, as `tsc --init` does.
declare global {
  interface ImportMeta {
    url: string;
    dirname: string;
    filename: string;
    resolve(specifier: string): string;
  }
  /** The same zmesh object, for modules that nobody passes it to. */
  var zmesh: Zmesh;
  var exports: any;
  var module: { exports: any };
  var require: any;
  var process: any;
  interface Buffer extends Uint8Array {
    toString(encoding?: string, start?: number, end?: number): string;
    equals(other: Uint8Array): boolean;
  }
  var Buffer: {
    from(data: string, encoding?: string): Buffer;
    from(data: ArrayLike<number> | ArrayBufferLike): Buffer;
    alloc(size: number): Buffer;
    concat(list: readonly Uint8Array[]): Buffer;
    byteLength(text: string, encoding?: string): number;
    isBuffer(value: unknown): value is Buffer;
  };
}
