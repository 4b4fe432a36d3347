// A browser as far as logging in and out needs one: cookies, redirects, and forms that are sent.

/** One visitor with cookies; `home` is where the client is, and where every walk ends. */
export class Browser {
  #cookies = new Map();
  #home;

  constructor(home) {
    this.#home = home;
  }

  /**
   * Opens a page and follows redirects. Ends at the client, whose address is in `url`, or at the
   * first page that is shown, whose text is in `text`.
   */
  async open(address, options = {}) {
    let url = new URL(address);
    let request = options;
    for (let step = 0; step < 10; step += 1) {
      const response = await this.#fetch(url, request);
      const location = response.headers.get('location');
      if (!location) return { url, status: response.status, text: await response.text() };
      url = new URL(location, url);
      request = {};
      if (url.href.startsWith(this.#home)) return { url };
    }
    throw new Error('too many redirects');
  }

  /** Sends the page's one form, its hidden fields and `values`. */
  async submit(page, values = {}) {
    const attribute = (tag, name) => tag?.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1].replaceAll('&amp;', '&');
    const action = attribute(page.text?.match(/<form[^>]*>/)?.[0], 'action');
    if (!action) throw new Error(`no form at ${page.url.pathname}: ${page.status} ${page.text}`);
    const hidden = [...page.text.matchAll(/<input[^>]*type="hidden"[^>]*>/g)]
      .map(([tag]) => [attribute(tag, 'name'), attribute(tag, 'value') ?? '']);
    const body = new URLSearchParams({ ...Object.fromEntries(hidden), ...values });
    return this.open(new URL(action, page.url), { method: 'POST', body });
  }

  async #fetch(url, { headers, ...options }) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { ...options, redirect: 'manual', headers: { ...headers, cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split(/=(.*)/s);
      this.#cookies.set(name, value);
    }
    return response;
  }
}
