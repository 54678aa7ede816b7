/* Search in pages opened from the disk. Browsers start no worker from a file, so its script runs in a hidden frame.
   mkdocs-material would load such a script from elsewhere; a polyfill whose name has "iframe-worker" takes its place. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inside = (this.inside = frame.contentWindow);
      inside.postToPage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.started = () => {
        for (const data of this.waiting.splice(0)) this.deliver(data);
        this.waiting = null;
      };
      const source = new URL(url, location.href).href;
      inside.document.open();
      inside.document.write(
        `<base href="${source}"><script>
          postMessage = postToPage;
          importScripts = (...urls) => Promise.all(urls.map((url) => new Promise((resolve, reject) => {
            const script = document.createElement("script");
            Object.assign(script, { src: url, onload: resolve, onerror: reject });
            document.body.appendChild(script);
          })));
        <\/script><script src="${source}" onload="started()"><\/script>`
      );
      inside.document.close();
    }
    postMessage(data) {
      this.waiting ? this.waiting.push(data) : this.deliver(data);
    }
    deliver(data) {
      this.inside.dispatchEvent(new MessageEvent("message", { data }));
    }
    terminate() {}
  };
}
