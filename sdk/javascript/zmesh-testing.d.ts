// Types of `zmesh/testing`, for editors. Copy this file beside zmesh.d.ts.

declare module 'zmesh/testing' {
  type Zmesh = import('./zmesh').Zmesh;

  /** The zmesh object of one test: a real database that is rolled back, and calls that are recorded, not made. */
  export interface RecordingZmesh extends Omit<Zmesh, 'env'> {
    /** Variables and secrets that the test sets. */
    readonly env: Record<string, string | undefined>;
    /** Function → what invoke() resolves to, a function that takes the payload, or a Failure. */
    readonly answers: Record<string, unknown>;
    /** The calls of invoke(). */
    readonly invoked: readonly Invoked[];
    /** Stands still until the test moves it: the times of what is enqueued come from it. */
    readonly clock: { readonly now: Date; set(time: Date | string | number): void; advance(seconds: number): void };
    /** What would run later, in the order of the inserts; without what was rolled back. */
    enqueued(): Promise<Enqueued[]>;
    /** What of that may start by now, according to the clock. */
    due(): Promise<Enqueued[]>;
    /**
     * Runs the handler of a file or folder in the sandbox, with the limits that zmesh.toml declares, in the transaction
     * of this test. Rejects with an InvocationError if it fails, or hits a limit.
     */
    run(file: string, payload?: unknown): Promise<any>;
    /** Has zmesh.request be this one. A body that is neither bytes nor text is sent as JSON. */
    setRequest(
      method?: string,
      path?: string,
      options?: { query?: Record<string, string | string[]>; headers?: Record<string, string>; body?: unknown },
    ): NonNullable<Zmesh['request']>;
  }

  export interface Invoked {
    function: string;
    payload: any;
    timeoutMs: number | null;
    version: number | null;
    alias: string | null;
  }

  export interface Enqueued {
    id: string;
    function: string;
    payload: any;
    runAt: Date;
    expiresAt: Date | null;
    priority: number;
    maxAttempts: number;
    idempotencyKey: string | null;
    concurrencyKey: string | null;
    callbackUrl: string | null;
    version: number | null;
    alias: string | null;
  }

  /** The answer of a function that fails: invoke() rejects with an InvocationError of this type and message. */
  export class Failure {
    constructor(type: string, message?: string, status?: string);
  }

  /** The test as a function for any runner: it gets a zmesh object of its own, and what the runner passes. */
  export function withZmesh<Given extends unknown[]>(
    test: (zmesh: RecordingZmesh, ...given: Given) => unknown,
  ): (...given: Given) => Promise<any>;
}
