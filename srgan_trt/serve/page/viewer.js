// Two pictures on one another, cut by a line: moved, zoomed by wheel, pinch and keys.

const STEP = 1.25;

export class Viewer {
  #stage = document.querySelector("#stage");
  #before = document.querySelector("#before");
  #after = document.querySelector("#after");
  #split = document.querySelector("#split");
  #level = document.querySelector("#zoom-level");
  #width = 0;
  #height = 0;
  #scale = 1;
  #x = 0;
  #y = 0;
  #fitted = true;
  #fingers = new Map();
  #onHandle = false;

  constructor() {
    this.#split.addEventListener("input", () => this.#show());
    this.#stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#stage.addEventListener("keydown", (event) => this.#key(event));
    this.#stage.addEventListener("dblclick", () => (this.#fitted ? this.pixels() : this.fit()));
    this.#stage.addEventListener("pointerdown", (event) => this.#down(event));
    this.#stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) this.#stage.addEventListener(name, (event) => this.#up(event));
    new ResizeObserver(() => (this.#fitted ? this.fit() : this.#show())).observe(this.#stage);
  }

  // width, height: of the picture after, in pixels. after: null while there is none.
  open({ before, after, width, height, keep = false }) {
    const other = width !== this.#width || height !== this.#height;
    [this.#width, this.#height] = [width, height];
    this.#before.src = before;
    if (after) this.#after.src = after;
    else this.#after.removeAttribute("src");
    for (const picture of [this.#before, this.#after]) {
      picture.width = width;
      picture.height = height;
      picture.hidden = picture === this.#after && !after;
    }
    if (other || !keep) this.fit();
    else this.#show();
  }

  fit() {
    const { clientWidth, clientHeight } = this.#stage;
    if (!this.#width || !clientWidth) return;
    this.#scale = Math.min(clientWidth / this.#width, clientHeight / this.#height);
    this.#x = (clientWidth - this.#width * this.#scale) / 2;
    this.#y = (clientHeight - this.#height * this.#scale) / 2;
    this.#fitted = true;
    this.#show();
  }

  // A pixel of the picture on one of the screen.
  pixels() {
    this.#zoomTo(1 / devicePixelRatio, ...this.#middle());
  }

  zoom(steps) {
    this.#zoomTo(this.#scale * STEP ** steps, ...this.#middle());
  }

  #middle() {
    return [this.#stage.clientWidth / 2, this.#stage.clientHeight / 2];
  }

  #zoomTo(scale, x, y) {
    const least = Math.min(this.#stage.clientWidth / this.#width, this.#stage.clientHeight / this.#height, 1) / 2;
    const next = Math.min(Math.max(scale, least), 16);
    this.#x = x - ((x - this.#x) * next) / this.#scale;
    this.#y = y - ((y - this.#y) * next) / this.#scale;
    this.#scale = next;
    this.#fitted = false;
    this.#show();
  }

  #show() {
    // Some of the picture stays in sight.
    const within = (value, size, room) => Math.min(Math.max(value, Math.min(40 - size, room - 40)), Math.max(room - 40, 40 - size));
    this.#x = within(this.#x, this.#width * this.#scale, this.#stage.clientWidth);
    this.#y = within(this.#y, this.#height * this.#scale, this.#stage.clientHeight);
    for (const picture of [this.#before, this.#after]) {
      picture.style.transform = `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`;
    }
    // The line moves over the picture, not over the room beside it.
    const left = Math.max(0, this.#x);
    const right = Math.min(this.#stage.clientWidth, this.#x + this.#width * this.#scale);
    this.#stage.style.setProperty("--split", `${left + ((right - left) * this.#split.value) / 100}px`);
    this.#split.setAttribute("aria-valuetext", `${this.#split.value} % before, ${100 - this.#split.value} % after`);
    this.#level.textContent = `${Math.round(this.#scale * devicePixelRatio * 100)} %`;
  }

  #place(event) {
    const box = this.#stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #wheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    this.#zoomTo(this.#scale * Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.0015)), ...this.#place(event));
  }

  #key(event) {
    if (event.target !== this.#stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key in moves) {
      this.#x += moves[event.key][0];
      this.#y += moves[event.key][1];
      this.#fitted = false;
      this.#show();
    } else if (event.key === "+" || event.key === "=") this.zoom(1);
    else if (event.key === "-") this.zoom(-1);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.pixels();
    else return;
    event.preventDefault();
  }

  #down(event) {
    if (event.target.closest(".notice")) return;
    this.#stage.setPointerCapture(event.pointerId);
    this.#fingers.set(event.pointerId, this.#place(event));
    this.#onHandle = this.#fingers.size === 1 && Boolean(event.target.closest(".handle"));
    this.#stage.classList.toggle("is-moving", !this.#onHandle);
  }

  #move(event) {
    const last = this.#fingers.get(event.pointerId);
    if (!last) return;
    const now = this.#place(event);
    const [other] = [...this.#fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.#fingers.set(event.pointerId, now);
    if (this.#onHandle) {
      const left = Math.max(0, this.#x);
      const right = Math.min(this.#stage.clientWidth, this.#x + this.#width * this.#scale);
      this.#split.value = ((now[0] - left) / (right - left)) * 100;
      this.#show();
      return;
    }
    if (other) {
      const apart = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
      const middle = (place) => [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
      const [x, y] = middle(now);
      const [oldX, oldY] = middle(last);
      this.#x += x - oldX;
      this.#y += y - oldY;
      this.#zoomTo((this.#scale * apart(now)) / apart(last), x, y);
      return;
    }
    this.#x += now[0] - last[0];
    this.#y += now[1] - last[1];
    this.#fitted = false;
    this.#show();
  }

  #up(event) {
    this.#fingers.delete(event.pointerId);
    this.#onHandle = false;
    if (!this.#fingers.size) this.#stage.classList.remove("is-moving");
  }
}
