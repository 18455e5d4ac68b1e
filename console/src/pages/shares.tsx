import { useState } from "preact/hooks";
import { api, must } from "../api/client.ts";
import type { FunctionDetails } from "../api/types.ts";
import { toast } from "../state/toast.ts";
import { Button } from "../parts/basic.tsx";
import { Confirm } from "../parts/overlays.tsx";

export const setLive = (fn: FunctionDetails, versions: Record<string, number>): Promise<unknown> => must(api.PUT("/functions/{id}/aliases/{alias}", { params: { path: { id: fn.id, alias: "live" } }, body: { versions } as never }));

/** One button that gives all calls to a version. It takes calls at once, so it asks. */
export function LiveShares({ fn, all, reload }: { fn: FunctionDetails; all: number; reload: () => Promise<void> }) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <Button onClick={() => setAsking(true)}>Give v{all} all calls</Button>
      {asking && (
        <Confirm
          title={`Give v${all} all calls of ${fn.slug}?`}
          action={`Give v${all} all calls`}
          onClose={() => setAsking(false)}
          run={async () => {
            await setLive(fn, { [all]: 100 });
            await reload();
            toast(`v${all} takes all calls of ${fn.slug}`);
          }}
        >
          It takes them at once. What runs now ends as it began.
        </Confirm>
      )}
    </>
  );
}
