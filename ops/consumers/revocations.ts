// Follows Gatewright's feed of revocations, with Node 18 or newer and no package. See docs/verify-offline.md.

type Page = { revocations: { sid: string; until: string }[]; next: number; newest: number; epoch: number };

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

export class Revocations {
  private ended = new Map<string, number>();
  private epoch = 0;
  private after: number | undefined;
  private seen: number | undefined;
  private headers: { Authorization: string };

  private baseUrl: string;
  private maxStale: number;
  private leeway: number;

  constructor(baseUrl: string, id: string, secret: string, maxStale = 300_000, leeway = 300_000) {
    [this.baseUrl, this.maxStale, this.leeway] = [baseUrl, maxStale, leeway];
    this.headers = { Authorization: `Basic ${btoa(`${id}:${secret}`)}` };
    void this.follow();
  }

  /** Whether to refuse a token with these claims; true too while the list is unknown or too old. */
  isRevoked(sid: string, epoch = 0): boolean {
    const isKnown = this.seen !== undefined && performance.now() - this.seen <= this.maxStale;
    return !isKnown || this.ended.has(sid) || epoch < this.epoch;
  }

  private async follow(): Promise<never> {
    for (;;) await this.read().catch(() => pause(1000)); // isRevoked() becomes true after maxStale.
  }

  private async read(): Promise<void> {
    const began = performance.now();
    const after = this.after === undefined ? "" : `&after=${this.after}`;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 40_000);
    const init = { headers: this.headers, signal: stop.signal };
    const answer = await fetch(`${this.baseUrl}/api/v1/revocations?wait=30${after}`, init);
    if (answer.status === 410 && after) return void (this.after = undefined); // The whole list; the known stay refused.
    if (!answer.ok) throw new Error(`the feed answers ${answer.status}`);
    const page = (await answer.json()) as Page;
    clearTimeout(timer);
    for (const one of page.revocations) this.ended.set(one.sid, Date.parse(one.until));
    for (const [sid, until] of this.ended) if (until + this.leeway < Date.now()) this.ended.delete(sid);
    this.epoch = page.epoch;
    this.after = page.next;
    if (page.next >= page.newest) this.seen = began;
  }
}
