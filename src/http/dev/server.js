// Calls to the server: the public API, and the backend's part of it, to which the development server adds the API key.

/** What the page shows when something fails: the API's own three members, and what a person can do. */
export class Problem extends Error {
  constructor({ title, details = "", status = 0, advice = "", requestId = "" }) {
    super(title);
    Object.assign(this, { title, details, status, advice, requestId });
  }
}

export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The answer's JSON, undefined where it has no content. `body` makes it a POST unless `method` says otherwise. */
export async function call(path, body, method = body === undefined ? "GET" : "POST") {
  const options = body === undefined ? { method } : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store" });
  } catch (cause) {
    throw new Problem({ title: "The server did not answer", details: cause.message, advice: "Is it still running?" });
  }
  if (response.status === 204) return undefined;
  const text = await response.text();
  const answer = parseJson(text);
  if (response.ok && answer !== undefined) return answer;
  const retryAfter = response.headers.get("Retry-After");
  throw new Problem({
    title: answer?.title ?? `The server answered ${response.status}`,
    details: answer?.details ?? (answer === undefined ? text.slice(0, 300) : ""),
    status: answer?.status ?? response.status,
    advice: retryAfter ? `Nothing was used up: try again in ${retryAfter} s.` : "",
    requestId: response.headers.get("X-Request-Id") ?? "",
  });
}

/** A call that needs the API key: the development server stands in for an application's backend. */
export function backend(path, body, method) {
  return call(`/dev/backend${path}`, body, method);
}
