/* The workspace: a run of a diffusion U-Net, or two to compare, drawn from the numbers within this page.

   docs/explore.md says what the manifest holds. A map has 8 bits a value over each picture's own range: value =
   low + (high - low) * level / 254; level 255 is not finite. Nothing is ever requested from elsewhere. */
"use strict";
(() => {
  const MESSAGES = JSON.parse(document.getElementById("uv-messages").textContent);
  const LANGUAGE = /^ja/i.test(navigator.language || "") ? "ja" : "en";

  /* The message of that name, with its {places} filled. */
  function text(name, values = {}) {
    return MESSAGES[LANGUAGE][name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
  }

  const element = (tag, given, ...children) => filled(document.createElement(tag), given, children);
  const drawn = (tag, given, ...children) =>
    filled(document.createElementNS("http://www.w3.org/2000/svg", tag), given, children);

  function filled(node, given, children) {
    for (const [name, value] of Object.entries(given || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child != null && child !== false));
    return node;
  }

  const button = (label, act, given = {}) => element("button", { type: "button", onclick: act, ...given }, label);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const range = (count, from = 0) => Array.from({ length: count }, (_, at) => from + at);
  const next = (all, now, by = 1) => all[(all.indexOf(now) + by + all.length) % all.length];
  const known = (value) => value != null && Number.isFinite(value);
  const joined = (...parts) => parts.filter((part) => part != null && part !== "" && part !== false).join(" · ");

  function short(value) {
    if (!known(value)) return "–";
    const size = Math.abs(value);
    return size && (size < 0.001 || size >= 1e5) ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  }

  // Numbers ---------------------------------------------------------------------------------------------

  const NOT_FINITE = 255, LEVELS = 254, MOST_MAPS = 48; // maps that stay inflated

  /* What the manifest refers to by place and length; a map is inflated when it is first looked at. */
  class Numbers {
    constructor(base64) {
      const packed = atob(base64.trim());
      this.bytes = new Uint8Array(packed.length);
      for (let at = 0; at < packed.length; at++) this.bytes[at] = packed.charCodeAt(at);
      this.found = new Map();
    }

    part({ at, bytes }) {
      return this.bytes.subarray(at, at + bytes);
    }

    /* A promise of {count, height, width, low, high, levels}. */
    planes(where) {
      const found = this.found.get(where) || this.inflated(where);
      this.found.delete(where);
      this.found.set(where, found);
      if (this.found.size > MOST_MAPS) this.found.delete(this.found.keys().next().value);
      return found;
    }

    async inflated(where) {
      const stream = new Blob([this.part(where)]).stream().pipeThrough(new DecompressionStream("deflate"));
      const buffer = await new Response(stream).arrayBuffer();
      const count = where.planes, [height, width] = where.shape;
      return {
        count, height, width, low: new Float32Array(buffer, 0, count), high: new Float32Array(buffer, 4 * count, count),
        levels: new Uint8Array(buffer, 8 * count, count * height * width),
      };
    }
  }

  function valueOf(planes, plane, level) {
    if (level === NOT_FINITE) return NaN;
    return planes.low[plane] + ((planes.high[plane] - planes.low[plane]) * level) / LEVELS;
  }

  const valueAt = (planes, plane, y, x) =>
    valueOf(planes, plane, planes.levels[(plane * planes.height + y) * planes.width + x]);

  /* float32 values of planes [first, first + count). */
  function valuesOf(planes, first, count) {
    const size = planes.height * planes.width, found = new Float32Array(count * size);
    for (let at = 0; at < found.length; at++) {
      found[at] = valueOf(planes, first + Math.floor(at / size), planes.levels[first * size + at]);
    }
    return found;
  }

  /* B - A of two maps of one shape, again with 8 bits over each picture's range. */
  function differenceOf(a, b) {
    const { count, height, width } = a, size = height * width;
    const found = { count, height, width, low: new Float32Array(count), high: new Float32Array(count) };
    found.levels = new Uint8Array(a.levels.length);
    for (let plane = 0; plane < count; plane++) {
      const before = valuesOf(a, plane, 1), values = valuesOf(b, plane, 1);
      let low = Infinity, high = -Infinity;
      for (let at = 0; at < size; at++) {
        values[at] -= before[at];
        if (values[at] < low) low = values[at];
        if (values[at] > high) high = values[at];
      }
      if (low > high) low = high = 0;
      [found.low[plane], found.high[plane]] = [low, high];
      const scale = high > low ? LEVELS / (high - low) : 0;
      for (let at = 0; at < size; at++) {
        const level = Number.isNaN(values[at]) ? NOT_FINITE : Math.round((values[at] - low) * scale);
        found.levels[plane * size + at] = level;
      }
    }
    return found;
  }

  // Colours and ranges ----------------------------------------------------------------------------------

  const ANCHORS = {
    viridis: "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    inferno: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    plasma: "0d0887 4c02a1 7e03a8 aa2395 cc4778 e66c5c f89540 fdc527 f0f921",
    grey: "000000 ffffff",
    "blue-white-red": "2166ac 67a9cf d1e5f0 f7f7f7 fddbc7 ef8a62 b2182b",
  };
  const TABLES = Object.fromEntries(Object.entries(ANCHORS).map(([name, anchors]) => [name, tableOf(anchors)]));
  const SIGNED = "blue-white-red", HEAT = "inferno", NO_VALUE = [255, 0, 255, 255];
  const SCALES = ["Each", "Sheet", "Percentile", "Symmetric"];

  /* 256 colours (r, g, b, 255) between the anchors, as bytes. */
  function tableOf(anchors) {
    const given = anchors.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    const found = new Uint8Array(1024).fill(255);
    for (let at = 0; at < 256; at++) {
      const place = (at / 255) * (given.length - 1), from = Math.min(given.length - 2, Math.floor(place));
      given[from].forEach((value, part) => {
        found[4 * at + part] = Math.round(value + (given[from + 1][part] - value) * (place - from));
      });
    }
    return found;
  }

  const colourAt = (table, share) => table.subarray(4 * Math.round(255 * share), 4 * Math.round(255 * share) + 3);
  const css = (colour) => `rgb(${[...colour].join(" ")})`;
  const share = (value, low, high) => (high > low ? clamp((value - low) / (high - low), 0, 1) : 0.5);

  /* Black or white, whichever is easier to read on the colour. */
  function inkOn(colour) {
    const linear = [...colour].map((part) => (part <= 10 ? part / 3295 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
  }

  /* [low, high] over planes [first, first + count) of all maps; null: each picture over its own. */
  function limitsOf(maps, scale, first, count) {
    if (scale === "Each") return null;
    const ends = maps.flatMap((planes) => range(count, first).flatMap((at) => [planes.low[at], planes.high[at]]));
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    if (scale === "Percentile") return percentiles(maps, first, count, low, high);
    const most = Math.max(-low, high, 0);
    return scale === "Symmetric" ? [-most, most] : [low, high];
  }

  /* What 1 % and 99 % of the values lie below, to a 4096th of their range. */
  function percentiles(maps, first, count, low, high) {
    const bins = new Float64Array(4096), scale = high > low ? 4095 / (high - low) : 0;
    for (const planes of maps) {
      const size = planes.height * planes.width;
      for (let plane = first; plane < first + count; plane++) {
        const counts = new Uint32Array(256);
        for (let at = plane * size; at < (plane + 1) * size; at++) counts[planes.levels[at]]++;
        for (let level = 0; level <= LEVELS; level++) {
          if (counts[level]) bins[Math.round((valueOf(planes, plane, level) - low) * scale)] += counts[level];
        }
      }
    }
    const total = bins.reduce((sum, each) => sum + each, 0);
    const reached = (part) => {
      let sum = 0;
      return low + Math.max(0, bins.findIndex((each) => (sum += each) >= part * total)) / (scale || 1);
    };
    return [reached(0.01), reached(0.99)];
  }

  // Painting --------------------------------------------------------------------------------------------

  const GAP = 1, LONGEST = 4096; // pixels between the pictures of a sheet; of a sheet's sides

  /* How `count` pictures fill a box best: {columns, rows, count, parts, zoom}. columns: given, or to be found.
     zoom: pixels on a side of a value, so that small pictures have no wide gaps. */
  function gridOf(count, planes, box, columns) {
    const zoom = Math.max(1, Math.floor((count > 1 ? 48 : 512) / Math.max(planes.width, planes.height)));
    const [wide, high] = [zoom * planes.width + GAP, zoom * planes.height + GAP];
    const most = Math.floor(LONGEST / wide), each = Math.floor(LONGEST / high) * most, here = Math.min(count, each);
    const size = (across) => Math.min(box.width / (across * wide), box.height / (Math.ceil(here / across) * high));
    const best = (one, other) => (size(other) > size(one) ? other : one);
    columns = columns || range(Math.min(here, most), 1).reduce(best, 1);
    return { columns, rows: Math.ceil(here / columns), count: here, parts: Math.ceil(count / each), zoom };
  }

  const VERTEX = "#version 300 es\nvoid main() {" +
    " gl_Position = vec4(4. * float(gl_VertexID & 1) - 1., 4. * float(gl_VertexID >> 1) - 1., 0., 1.); }";
  const FRAGMENT = `#version 300 es
    precision highp float; precision highp int; precision highp usampler2D; precision highp sampler2D;
    uniform usampler2D levels; uniform sampler2D ends, colours;
    uniform ivec2 size; uniform int zoom, columns, first, count, tall; uniform vec2 limits; uniform bool each;
    out vec4 colour;
    void main() {
      ivec2 at = ivec2(int(gl_FragCoord.x), tall - 1 - int(gl_FragCoord.y)), pitch = zoom * size + ${GAP};
      ivec2 cell = at / pitch, place = (at - cell * pitch) / zoom;
      int number = cell.y * columns + cell.x, plane = first + number;
      colour = vec4(0.);
      if (place.x >= size.x || place.y >= size.y || number >= count) return;
      int index = (plane * size.y + place.y) * size.x + place.x;
      uint level = texelFetch(levels, ivec2(index % 2048, index / 2048), 0).r;
      vec2 own = texelFetch(ends, ivec2(plane % 2048, plane / 2048), 0).rg;
      vec2 bounds = each ? own : limits;
      float value = own.x + (own.y - own.x) * float(level) / 254.;
      float share = bounds.y > bounds.x ? clamp((value - bounds.x) / (bounds.y - bounds.x), 0., 1.) : .5;
      colour = level == 255u ? vec4(1., 0., 1., 1.) : texelFetch(colours, ivec2(int(share * 255. + .5), 0), 0);
    }`;

  /* Sheets by WebGL2: a map's levels are one texture, and colours and ranges are uniforms of the shader. */
  class Shader {
    constructor() {
      this.canvas = element("canvas");
      const gl = (this.gl = this.canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false }));
      if (!gl) throw new Error("no WebGL2");
      const program = (this.program = gl.createProgram());
      for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, source);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
      gl.useProgram(program);
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      ["levels", "ends", "colours"].forEach((name, unit) => gl.uniform1i(this.place(name), unit));
      this.longest = Math.min(8192, gl.getParameter(gl.MAX_TEXTURE_SIZE));
      this.kept = new Map(); // textures of the maps last looked at
      this.tables = new Map();
    }

    place(name) {
      return this.gl.getUniformLocation(this.program, name);
    }

    /* A texture 2048 wide (a table: 256) that holds `count` values row by row. */
    texture(values, count, [inner, outer, type], each = 1, wide = 2048) {
      const gl = this.gl, texture = gl.createTexture(), rows = Math.floor(count / wide), rest = count % wide;
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texStorage2D(gl.TEXTURE_2D, 1, inner, wide, rows + (rest ? 1 : 0));
      const put = (y, width, height, from) => gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, y, width, height, outer, type, values, from * each);
      if (rows) put(0, wide, rows, 0);
      if (rest) put(rows, rest, 1, rows * wide);
      return texture;
    }

    texturesOf(planes) {
      const { gl, kept } = this;
      const ends = new Float32Array(2 * planes.count);
      if (!kept.has(planes)) {
        for (let at = 0; at < planes.count; at++) ends.set([planes.low[at], planes.high[at]], 2 * at);
        kept.set(planes, [this.texture(planes.levels, planes.levels.length, [gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE]),
          this.texture(ends, planes.count, [gl.RG32F, gl.RG, gl.FLOAT], 2)]);
      }
      const found = kept.get(planes);
      kept.delete(planes);
      kept.set(planes, found);
      if (kept.size > 6) {
        const [oldest, textures] = kept.entries().next().value;
        textures.forEach((texture) => gl.deleteTexture(texture));
        kept.delete(oldest);
      }
      return found;
    }

    paint(planes, grid, first, limits, table) {
      const { gl, canvas } = this;
      if (planes.levels.length > 2048 * this.longest || gl.isContextLost()) return painted(planes, grid, first, limits, table);
      if (!this.tables.has(table)) this.tables.set(table, this.texture(table, 256, [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE], 4, 256));
      [...this.texturesOf(planes), this.tables.get(table)].forEach((texture, unit) => {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, texture);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
        gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
      });
      Object.assign(canvas, sizeOf(planes, grid));
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.uniform2i(this.place("size"), planes.width, planes.height);
      gl.uniform2f(this.place("limits"), ...(limits || [0, 0]));
      const whole = { zoom: grid.zoom, columns: grid.columns, first, count: grid.count, tall: canvas.height, each: limits ? 0 : 1 };
      for (const [name, value] of Object.entries(whole)) gl.uniform1i(this.place(name), value);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      return canvas;
    }
  }

  const pitchOf = ({ width, height }, { zoom }) => [zoom * width + GAP, zoom * height + GAP];

  function sizeOf(planes, grid) {
    const [wide, high] = pitchOf(planes, grid);
    return { width: grid.columns * wide - GAP, height: grid.rows * high - GAP };
  }

  /* The same without WebGL2. */
  function painted(planes, grid, first, limits, table) {
    const { height, width } = planes, { zoom } = grid, [wide, high] = pitchOf(planes, grid);
    const canvas = element("canvas", sizeOf(planes, grid));
    const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer), colours = new Uint32Array(table.buffer), own = new Uint32Array(256);
    own[NOT_FINITE] = new Uint32Array(new Uint8Array(NO_VALUE).buffer)[0];
    for (let cell = 0; cell < grid.count; cell++) {
      const plane = first + cell, [low, high] = limits || [planes.low[plane], planes.high[plane]];
      for (let level = 0; level <= LEVELS; level++) {
        own[level] = colours[Math.round(255 * share(valueOf(planes, plane, level), low, high))];
      }
      const left = (cell % grid.columns) * wide, top = Math.floor(cell / grid.columns) * high;
      for (let y = 0; y < high - GAP; y++) {
        const from = (plane * height + Math.floor(y / zoom)) * width, to = (top + y) * canvas.width + left;
        for (let x = 0; x < wide - GAP; x++) pixels[to + x] = own[planes.levels[from + Math.floor(x / zoom)]];
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  function painter() {
    try {
      return new Shader();
    } catch {
      return { paint: painted };
    }
  }

  /* Several canvases as one: beside each other, or the second laid over the first from a border on. */
  function composed(canvas, parts, mode, border) {
    const [{ width, height }] = parts, gap = Math.ceil(width / 40), beside = mode === "Side" && parts.length > 1;
    Object.assign(canvas, { width: beside ? 2 * width + gap : width, height });
    const context = canvas.getContext("2d");
    parts.forEach((part, at) => {
      const from = at && mode === "Swipe" ? Math.round(border * width) : 0;
      if (at && from >= width) return;
      context.clearRect(from + at * (beside ? width + gap : 0), 0, width - from, height);
      context.drawImage(part, from, 0, width - from, height, from + at * (beside ? width + gap : 0), 0, width - from, height);
    });
    return beside ? width + gap : 0;
  }

  function download(blob, name) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  /* A file in numpy's own format. */
  function npyOf(values, shape) {
    let head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
    head += " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
    const start = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8];
    return new Blob([new Uint8Array(start), head, values]);
  }

  // Names -----------------------------------------------------------------------------------------------

  const kindOf = (map) => `${map.kind} ${map.attention} ${map.layer}`;
  const outer = (map) => map.axes.slice(0, -2);

  function axisText(map, axis, at) {
    if (axis !== "token") return text(axis, { at });
    const label = map.labels && map.labels[at];
    return label ? text("token", { text: label }) : text("tokenAt", { at: map.tokens ? map.tokens[at] : at });
  }

  /* Which picture of a map that is: "head 3, token “cat”". */
  function planeText(map, plane) {
    const each = map.shape.length > 3 ? map.shape[1] : 1;
    const places = map.shape.length > 3 ? [Math.floor(plane / each), plane % each] : [plane];
    return outer(map).map((axis, at) => axisText(map, axis, places[at])).join(", ");
  }

  function placeText(map, y, x) {
    const [row, column] = map.axes.slice(-2);
    if (row === "y" && column === "x") return text("place", { x, y });
    return `${axisText(map, row, y)}, ${axisText(map, column, x)}`;
  }

  function mapText(map) {
    if (map.kind === "features") return text("features");
    return text("attention", { kind: map.attention ? text(map.attention) : "", what: map.kind, layer: map.layer ?? 0 });
  }

  // Parts of the page -----------------------------------------------------------------------------------

  /* A labelled choice; set() fills it and hides it where there is nothing to choose. */
  function choice(label, changed) {
    const select = element("select", { onchange: () => changed(select.value) });
    const whole = element("label", { class: "uv-choice" }, element("span", {}, label), select);
    const set = (options, value) => {
      const wanted = JSON.stringify(options);
      if (wanted !== select.dataset.options) {
        select.replaceChildren(...options.map(([key, shown]) => element("option", { value: key }, shown)));
        select.dataset.options = wanted;
      }
      select.value = String(value);
      whole.hidden = options.length < 2;
    };
    return { whole, select, set };
  }

  /* A colour bar with what its ends mean. */
  function fillBar(bar, table, [low, high]) {
    const stops = range(9).map((at) => css(colourAt(table, at / 8))).join(", ");
    const strip = element("i", { style: `background: linear-gradient(to right, ${stops})` });
    bar.replaceChildren(element("span", {}, low), strip, element("span", {}, high));
  }

  const section = (name, title, ...children) =>
    element("section", { class: `uv-${name}`, "aria-label": title }, ...children);

  /* Whose run, how two are compared, notes, theme and keys. */
  class Header {
    constructor(space) {
      const { runs } = space, two = runs.length > 1;
      this.space = space;
      this.modes = MODES.map((mode) => button(text(`mode${mode}`), () => space.set({ mode }), { "data-mode": mode }));
      this.border = element("input", { type: "range", min: 0, max: 1000, class: "uv-border", "aria-label": text("swipe"),
        oninput: () => space.set({ border: this.border.value / 1000 }) });
      const notes = runs.flatMap((run) => run.notes.map((note) => (two ? `${run.name}: ${note}` : note)));
      const list = notes.length > 0 && element("details", {}, element("summary", {}, `${text("notes")} (${notes.length})`),
        element("ul", {}, ...notes.map((note) => element("li", {}, note))));
      this.whole = element("header", {},
        element("div", { class: "uv-runs" }, ...runs.map((run) => this.described(run, two)), list),
        element("div", { class: "uv-tools" },
          two && element("div", { class: "uv-modes", role: "group", "aria-label": text("compare") }, ...this.modes),
          button("◐", () => space.theme(), { "aria-label": text("theme"), title: text("theme") }),
          button("?", () => space.help.showModal(), { "aria-label": text("help"), title: text("help") }), this.border));
    }

    described(run, two) {
      const seed = run.seed == null ? null : text("seed", { seed: run.seed });
      const title = run.prompt || text("untitled", { name: run.name });
      return element("div", { class: "uv-run" }, element(two ? "h2" : "h1", {}, two && element("b", {}, run.name), title),
        element("p", { class: "uv-quiet" }, joined(run.model, seed, run.which)),
        run.negative && element("p", { class: "uv-quiet" }, text("negative", { text: run.negative })));
    }

    update() {
      const { mode, border } = this.space.state;
      for (const each of this.modes) each.setAttribute("aria-pressed", each.dataset.mode === mode);
      this.border.hidden = mode !== "Swipe";
      this.border.value = Math.round(1000 * border);
    }
  }
  const MODES = ["A", "B", "Side", "Swipe", "Difference"];

  /* The picture, grey under the heat of the chosen word, and the words. */
  class Picture {
    constructor(space) {
      this.space = space;
      this.canvas = element("canvas", { role: "img", onpointermove: (event) => space.drag(event, this.canvas),
        onpointerdown: (event) => space.drag(event, this.canvas) });
      this.names = element("div", { class: "uv-names", "aria-hidden": true });
      this.bar = element("div", { class: "uv-bar" });
      this.said = element("p", { class: "uv-said" });
      this.words = element("div", { class: "uv-words", role: "group", "aria-label": text("words") });
      this.whole = section("picture", text("picture"), element("h2", {}, text("picture")), this.names, this.canvas, this.bar,
        this.said, element("h3", {}, text("words")), this.words);
      this.images = space.runs.map((run) => this.loaded(run));
      this.turn = 0;
    }

    async loaded({ picture }) {
      if (!picture) return null;
      return createImageBitmap(new Blob([this.space.numbers.part(picture)], { type: picture.mime })).catch(() => null);
    }

    update() {
      const { run, state } = this.space;
      if (this.of !== run) this.words.replaceChildren(...run.words.map((word, at) => this.chip(word, at)));
      this.of = run;
      [...this.words.children].forEach((chip, at) => chip.setAttribute("aria-pressed", at === state.word));
      this.draw(++this.turn);
    }

    chip(word, at) {
      const most = Math.max(...this.space.run.words.map((each) => each.strength || 0)) || 1;
      const meter = element("i", { style: `width: ${Math.round((100 * (word.strength || 0)) / most)}%` });
      const chip = button(word.text, () => this.space.word(this.space.state.word === at ? null : at),
        { class: "uv-chip", title: this.strength(word), "aria-label": `${word.text}, ${this.strength(word)}` });
      chip.append(meter);
      return chip;
    }

    strength(word) {
      return known(word.strength) ? text("strength", { value: short(word.strength) }) : text("noStrength");
    }

    async draw(turn) {
      const { state, run, runs } = this.space, word = run.words[state.word], two = runs.length > 1;
      const wanted = !two ? [0] : state.mode === "B" ? [1] : state.mode === "A" ? [0] : [0, 1];
      let layers = (await Promise.all(wanted.map((at) => this.layer(at, word)))).filter(Boolean);
      const signed = layers.length === 2 && state.mode === "Difference";
      if (signed) layers = [await this.difference(word)];
      if (turn !== this.turn) return;
      const shown = layers.length > 0, side = layers.length === 2 && state.mode === "Side";
      this.canvas.hidden = !shown;
      if (shown) composed(this.canvas, layers, state.mode, state.border);
      this.names.hidden = !side;
      this.names.replaceChildren(...(side ? runs.map((each) => element("span", {}, each.name)) : []));
      const heat = word && word.map;
      this.bar.hidden = !heat || !shown;
      fillBar(this.bar, TABLES[signed ? SIGNED : HEAT], signed ? ["A", "B"] : [text("low"), text("high")]);
      const said = word ? `${word.text}: ${heat ? this.strength(word) : text("noHeat", { word: word.text })}` : "";
      const hint = run.words.length ? text("wordsHint") : text("noWords");
      this.said.textContent = joined(!shown && text("noPicture"), said || hint);
      this.canvas.setAttribute("aria-label", joined(text("picture"), said));
    }

    /* One run's picture on a canvas, with a word's heat over it. */
    async layer(at, word) {
      const { runs, numbers } = this.space, image = await this.images[at], own = word && this.space.same(word, runs[at]);
      const heat = own && own.map ? await numbers.planes(own.map).catch(() => null) : null;
      if (!image && !heat) return null;
      const canvas = this.picture(image, heat, word);
      if (heat) this.lay(canvas, heat, TABLES[HEAT], (part) => 0.1 + 0.8 * part, [heat.low[0], heat.high[0]]);
      return canvas;
    }

    /* The picture at 512 pixels or more; grey and dim under heat. */
    picture(image, heat, grey) {
      const [width, height] = image ? [image.width, image.height] : [heat.width, heat.height], scale = Math.max(1, Math.ceil(512 / width));
      const canvas = element("canvas", { width: scale * width, height: scale * height }), context = canvas.getContext("2d");
      context.imageSmoothingEnabled = scale < 4;
      if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
      if (!grey) return canvas;
      const pixels = context.getImageData(0, 0, canvas.width, canvas.height), { data } = pixels;
      for (let at = 0; at < data.length; at += 4) {
        data.fill(0.65 * (0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]), at, at + 3);
      }
      context.putImageData(pixels, 0, 0);
      return canvas;
    }

    /* Lay a map over a canvas, each value as opaque as opacity() says of its share of the range. */
    lay(canvas, planes, table, opacity, [low, high]) {
      const small = element("canvas", { width: planes.width, height: planes.height }), context = small.getContext("2d");
      const image = context.createImageData(planes.width, planes.height);
      valuesOf(planes, 0, 1).forEach((value, at) => {
        const part = Number.isNaN(value) ? null : share(value, low, high);
        image.data.set(part == null ? [0, 0, 0, 0] : [...colourAt(table, part), 255 * Math.min(1, opacity(part))], 4 * at);
      });
      context.putImageData(image, 0, 0);
      Object.assign(canvas.getContext("2d"), { imageSmoothingEnabled: true, imageSmoothingQuality: "high" });
      canvas.getContext("2d").drawImage(small, 0, 0, canvas.width, canvas.height);
    }

    /* B - A: of the word's heat over A's picture; of the pictures around grey. */
    async difference(word) {
      const { runs, numbers } = this.space, images = await Promise.all(this.images);
      const own = word ? runs.map((run) => this.space.same(word, run)) : [];
      if (own.length && own.every((each) => each && each.map)) {
        const planes = differenceOf(...(await Promise.all(own.map((each) => numbers.planes(each.map)))));
        const canvas = this.picture(images[0], planes, true), most = Math.max(-planes.low[0], planes.high[0]);
        this.lay(canvas, planes, TABLES[SIGNED], (part) => 0.1 + 1.8 * Math.abs(part - 0.5), [-most, most]);
        return canvas;
      }
      const [a, b] = images.map((image) => this.picture(image || images.find(Boolean), null, false));
      const [before, after] = [a, b].map((each) => each.getContext("2d").getImageData(0, 0, a.width, a.height));
      for (let at = 0; at < after.data.length; at++) {
        if (at % 4 < 3) after.data[at] = 128 + (after.data[at] - before.data[at]) / 2;
      }
      a.getContext("2d").putImageData(after, 0, 0);
      return a;
    }
  }

  /* The U: in blocks down on the left, out blocks up on the right, each level with the one whose skip it reads. */
  class UNetMap {
    constructor(space) {
      this.space = space;
      this.groups = new Map();
      this.measure = choice(text("measure"), (measure) => space.set({ measure, byHand: true }));
      this.bar = element("div", { class: "uv-bar" });
      this.said = element("p", { class: "uv-said" }, "● ", text("dots"));
      const u = space.blocks.length ? this.drawing() : element("p", { class: "uv-quiet" }, text("noBlocks"));
      this.whole = section("unet", text("unet"), element("div", { class: "uv-row" }, element("h2", {}, text("unet")), this.measure.whole),
        u, this.bar, space.blocks.length > 0 && this.said);
    }

    drawing() {
      const { blocks } = this.space, [down, middle, up] = ["in", "mid", "out"].map((path) => blocks.filter((each) => each.path === path));
      const rows = Math.max(down.length, up.length), [width, wide, high, pitch] = [360, 62, 24, 31];
      const sides = [...new Set(down.map((each) => String(each.size)))], level = (block) => (block ? sides.indexOf(String(block.size)) : 0);
      const places = new Map();
      down.forEach((block, at) => places.set(block, [6 + 15 * level(block), 4 + pitch * at]));
      up.forEach((block, at) => {
        const row = rows - 1 - at;
        places.set(block, [width - 6 - wide - 15 * level(down[row]), 4 + pitch * row]);
      });
      middle.forEach((block, at) => places.set(block, [(width - wide) / 2 + (at - (middle.length - 1) / 2) * (wide + 8), 10 + pitch * rows]));
      const lines = [], labels = [];
      sides.forEach((side, at) => {
        const first = down.findIndex((each) => level(each) === at), count = down.filter((each) => level(each) === at).length;
        const [x, y] = [15 * at, pitch * first];
        lines.push(drawn("rect", { class: "uv-band", x, y: y + 1, width: width - 2 * x, height: pitch * count - 2, rx: 8 }));
        if (side !== "null") labels.push(drawn("text", { class: "uv-size", x: width / 2, y: y + (pitch * count) / 2 + 4 }, down[first].size.join(" × ")));
      });
      blocks.slice(1).forEach((block, at) => lines.push(drawn("path", { class: "uv-path", d: pathOf(places.get(blocks[at]), places.get(block), wide, high) })));
      for (const block of down) {
        const reader = blocks.find((each) => each.name === block.skip);
        if (reader) lines.push(drawn("path", { class: "uv-skip", d: `M${places.get(block)[0] + wide} ${places.get(block)[1] + high / 2} L${places.get(reader)[0]} ${places.get(reader)[1] + high / 2}` }));
      }
      const groups = blocks.map((block) => this.group(block, places.get(block), wide, high));
      return drawn("svg", { viewBox: `0 0 ${width} ${pitch * rows + (middle.length ? 40 : 4)}`, role: "radiogroup", "aria-label": text("unet") }, ...lines, ...labels, ...groups);
    }

    group({ name }, [x, y], width, height) {
      const choose = () => this.space.block(name);
      const group = drawn("g", { role: "radio", class: "uv-block", "data-block": name, onclick: choose, onkeydown: (event) => event.key === "Enter" && choose() },
        drawn("title"), drawn("rect", { x, y, width, height, rx: 6 }), drawn("text", { x: x + width / 2, y: y + height / 2 + 4 }, name),
        drawn("circle", { cx: x + width - 6, cy: y + 6, r: 2.2 }));
      this.groups.set(name, group);
      return group;
    }

    update() {
      const measures = this.space.measures(), chosen = measures.find((each) => each.key === this.space.state.measure) || measures[0];
      this.measure.set(measures.map((each) => [each.key, each.label]), chosen ? chosen.key : "");
      const all = chosen ? chosen.all() : [], low = Math.min(...all), high = Math.max(...all);
      for (const block of this.space.blocks) this.colour(block, chosen, low, high);
      this.bar.hidden = !all.length;
      if (all.length) fillBar(this.bar, TABLES.viridis, [short(low), short(high)]);
    }

    colour(block, measure, low, high) {
      const group = this.groups.get(block.name), [title, rect, ...marks] = group.children;
      const [value, mean] = measure ? measure.at(block.name) : [], here = block.name === this.space.state.block;
      const colour = known(value) ? colourAt(TABLES.viridis, share(value, low, high)) : null;
      const maps = this.space.runs.some((run) => run.maps.some((map) => map.block === block.name));
      rect.style.fill = colour ? css(colour) : "";
      for (const mark of marks) mark.style.fill = colour ? inkOn(colour) : "";
      marks[1].style.display = maps ? "" : "none";
      group.classList.toggle("uv-none", !colour);
      group.setAttribute("aria-checked", here);
      group.setAttribute("tabindex", here ? 0 : -1);
      const said = measure && `${measure.label}: ${colour ? short(value) : text("noMeasure")}${mean ? ` (${text("mean")})` : ""}`;
      title.textContent = joined(block.name, block.size && block.size.join(" × "), block.channels && text("count", { count: block.channels }), said, maps && text("hasMaps"));
      group.setAttribute("aria-label", title.textContent);
    }
  }

  /* From one block's box to the next one's: along a column, or around the corner to and from the middle. */
  function pathOf([x1, y1], [x2, y2], width, height) {
    const from = x1 + width / 2, to = x2 + width / 2;
    if (Math.abs(from - to) < 40) return y2 > y1 ? `M${from} ${y1 + height} L${to} ${y2}` : `M${from} ${y1} L${to} ${y2 + height}`;
    return y2 > y1 ? `M${from} ${y1 + height} V${y2 + height / 2} H${x2}` : `M${x1 + width} ${y1 + height / 2} H${to} V${y2 + height}`;
  }

  /* The maps of the chosen block: all pictures of one at a time, or one of them enlarged. */
  class Sheet {
    constructor(space) {
      this.space = space;
      const whole = { cell: null, part: 0 };
      this.map = choice(text("map"), (kind) => space.set({ kind, head: null, ...whole }));
      this.heads = choice(text("heads"), (head) => space.set({ head: head === "" ? null : Number(head), ...whole }));
      this.colours = choice(text("colours"), (colours) => space.set({ colours }));
      this.scale = choice(text("scale"), (scale) => space.set({ scale }));
      this.parts = choice(text("part"), (part) => space.set({ part: Number(part), cell: null }));
      this.title = element("h2");
      this.facts = element("p", { class: "uv-quiet" });
      this.canvas = element("canvas", { "aria-hidden": true });
      this.cursor = element("div", { class: "uv-cursor", role: "gridcell", id: "uv-cell" });
      this.frame = element("div", { class: "uv-canvas", role: "grid", tabindex: 0, "aria-activedescendant": "uv-cell", "aria-describedby": "uv-grid-help",
        onpointermove: (event) => this.hover(event), onpointerdown: (event) => space.drag(event, this.canvas), onpointerleave: () => this.leave(),
        onclick: (event) => this.click(event), onkeydown: (event) => this.key(event) },
      this.canvas, element("div", { role: "row" }, this.cursor));
      this.columns = element("div", { class: "uv-columns", "aria-hidden": true });
      this.rows = element("div", { class: "uv-rows", "aria-hidden": true });
      this.box = element("div", { class: "uv-box" }, element("div", { class: "uv-frame" }, this.columns, this.rows, this.frame));
      this.bar = element("div", { class: "uv-bar" });
      this.line = element("p", { class: "uv-read" });
      this.zoom = button("", () => this.toggle());
      this.turns = [button(text("previous"), () => this.turnCell(-1)), button(text("next"), () => this.turnCell(1))];
      const saves = [["savePng", () => this.png()], ["saveNpy", () => this.npy()], ["saveCsv", () => this.csv()]];
      this.tools = element("div", { class: "uv-row uv-under" }, this.zoom, ...this.turns, element("span", { class: "uv-saves", role: "group", "aria-label": text("save") },
        element("span", {}, text("save")), ...saves.map(([name, act]) => button(text(name), act))));
      this.empty = element("p", { class: "uv-empty" });
      this.choices = element("div", { class: "uv-row" }, ...[this.map, this.heads, this.colours, this.scale, this.parts].map((each) => each.whole));
      this.whole = section("sheet", text("sheet"), element("div", { class: "uv-row" }, this.title, this.facts), this.choices, this.empty, this.box, this.line, this.bar, this.tools,
        element("p", { id: "uv-grid-help", class: "uv-hidden" }, text("gridHelp")));
      Object.assign(this, { painter: painter(), at: 0, turn: 0, differences: new WeakMap() });
      new ResizeObserver(() => this.shown && this.room !== this.measured() && this.show()).observe(this.box);
    }

    update() {
      return this.draw(++this.turn);
    }

    async draw(turn) {
      const { space } = this, { state } = space, maps = space.mapsOf(state.block), map = maps.find((each) => kindOf(each) === state.kind) || maps[0];
      const block = space.blocks.find((each) => each.name === state.block);
      this.map.set(maps.map((each) => [kindOf(each), mapText(each)]), map ? kindOf(map) : "");
      for (const part of [this.choices, this.box, this.bar, this.line, this.tools]) part.hidden = !map;
      this.empty.hidden = !!map;
      this.title.textContent = state.block || text("sheet");
      this.facts.textContent = joined(block && block.size && block.size.join(" × "), block && block.channels && text("count", { count: block.channels }));
      this.map0 = map;
      try {
        if (!map) throw new Error(this.missing());
        const found = await this.loaded(map);
        if (turn === this.turn) this.show(found);
      } catch (error) {
        if (turn !== this.turn) return;
        for (const part of [this.box, this.bar, this.line, this.tools]) part.hidden = true;
        Object.assign(this, { shown: null, grid: null });
        this.empty.hidden = false;
        space.say((this.empty.textContent = map ? text("brokenMap") : error.message));
      }
      document.documentElement.dataset.ready = "";
    }

    /* Why there is nothing to see. */
    missing() {
      const { runs, state } = this.space, maps = runs.flatMap((run) => run.maps), own = maps.filter((map) => map.block === state.block);
      if (!maps.length) return text("noFeatures");
      if (!own.length) return text("noBlockMaps", { block: state.block });
      const steps = [...new Set(own.map((map) => map.step))].sort((a, b) => a - b).join(", ");
      return `${text("noMaps", { block: state.block })} ${text("atSteps", { steps })}`;
    }

    /* [{name, planes}] to be drawn: of one run, of both, or their difference; with `both` for reading values. */
    async loaded(map) {
      const { runs, state, numbers } = this.space;
      const own = runs.map((run) => this.space.mapsOf(state.block, run).find((each) => kindOf(each) === kindOf(map) && each.step === map.step && String(each.shape) === String(map.shape)));
      const both = (await Promise.all(own.map((each) => each && numbers.planes(each.values)))).map((planes, at) => planes && { name: runs[at].name, planes });
      const there = both.filter(Boolean), [a, b] = both;
      this.lone = runs.length > 1 && there.length < 2 ? text("noOther", { name: there[0].name }) : "";
      if (there.length < 2) return there;
      if (state.mode === "Difference") {
        if (!this.differences.has(b.planes)) this.differences.set(b.planes, differenceOf(a.planes, b.planes));
        return [{ name: "B − A", planes: this.differences.get(b.planes), signed: true, of: both }];
      }
      return state.mode === "A" ? [a] : state.mode === "B" ? [b] : both;
    }

    show(shown = this.shown) {
      const { state } = this.space, map = this.map0, { planes, signed } = shown[0];
      const heads = map.axes[0] === "head" ? map.shape[0] : 0, each = map.shape.length > 3 ? map.shape[1] : 1;
      const head = heads > 1 && state.head != null && state.head < heads ? state.head : null;
      this.heads.set(heads > 1 ? [["", text("allHeads")], ...range(heads).map((at) => [at, text("head", { at })])] : [], head ?? "");
      const colours = signed ? SIGNED : state.colours, scale = signed && state.scale !== "Each" ? "Symmetric" : state.scale;
      this.colours.set(Object.keys(TABLES).map((name) => [name, name]), colours);
      this.scale.set(SCALES.map((name) => [name, text(`scale${name}`)]), scale);
      this.colours.select.disabled = !!signed;
      const side = shown.length > 1 && state.mode === "Side", labelled = outer(map).length === 2 && outer(map)[1] === "token" && each <= 40 && state.cell == null && !side;
      this.columns.hidden = this.rows.hidden = !labelled;
      const box = this.bounds(labelled, side), [from, count] = head == null ? [0, planes.count] : [head * each, each];
      let grid = gridOf(count, planes, box, labelled ? each : 0);
      const part = Math.min(state.part, grid.parts - 1);
      this.parts.set(range(grid.parts).map((at) => [at, `${at + 1} / ${grid.parts}`]), part);
      let first = from + part * grid.count;
      grid = { ...grid, count: Math.min(grid.count, from + count - first) };
      Object.assign(this, { from, all: count });
      const limits = limitsOf(shown.map((one) => one.planes), scale, first, grid.count), cell = state.cell != null && clamp(state.cell, from, from + count - 1);
      if (state.cell != null) [first, grid] = [cell, gridOf(1, planes, box, 1)];
      const canvases = shown.map((one) => copied(this.painter.paint(one.planes, grid, first, limits, TABLES[colours])));
      const second = composed(this.canvas, canvases, state.mode, state.border);
      Object.assign(this, { shown, grid, first, second, single: canvases[0].width, labelled, at: clamp(this.at, 0, grid.count - 1) });
      this.fit(box, side);
      this.label(map, grid, first, head);
      const ends = limits || (grid.count === 1 ? [planes.low[first], planes.high[first]] : null);
      fillBar(this.bar, TABLES[colours], ends ? ends.map(short) : [text("low"), text("high")]);
      this.zoom.textContent = text(state.cell == null ? "enlarge" : "back");
      for (const turn of this.turns) turn.hidden = state.cell == null;
      this.moveCursor();
      this.leave();
      this.space.say(joined(state.block, mapText(map), this.step(map), state.cell == null ? text("pictures", { count, height: planes.height, width: planes.width }) : planeText(map, first), shown.map((one) => (this.space.runs.length > 1 ? one.name : "")).join(" / ")));
    }

    step(map) {
      return map.step == null ? text("mean") : text("step", { step: map.step });
    }

    /* What room there is for the sheet: as high as its section where the page is one screen. */
    bounds(labelled, side) {
      this.room = this.measured();
      const [wide, tall] = this.room.split(" ").map(Number);
      return { width: Math.max(60, (wide - (labelled ? 26 : 2)) / (side ? 2.05 : 1)), height: Math.max(120, tall - (labelled ? 62 : 2)) };
    }

    measured() {
      const { clientWidth, clientHeight } = this.box;
      return `${clientWidth} ${matchMedia(ONE_SCREEN).matches ? clientHeight : Math.round(Math.min(clientWidth, 0.85 * innerHeight))}`;
    }

    fit(box, side) {
      const scale = Math.min((side ? 2.05 : 1) * box.width / this.canvas.width, box.height / this.canvas.height);
      this.canvas.style.width = `${Math.floor(scale * this.canvas.width)}px`;
      this.canvas.style.height = `${Math.floor(scale * this.canvas.height)}px`;
      this.canvas.style.imageRendering = scale * devicePixelRatio >= 1 ? "pixelated" : "auto";
    }

    /* Tokens over the columns and heads beside the rows. */
    label(map, grid, first, head) {
      if (!this.labelled) return;
      const word = this.space.run.words[this.space.state.word], chosen = new Set(word ? word.tokens : []), narrow = parseFloat(this.canvas.style.width) / grid.columns < 44;
      this.columns.classList.toggle("uv-upright", narrow);
      this.columns.style.width = this.canvas.style.width;
      this.columns.replaceChildren(...range(grid.columns).map((at) => {
        const label = (map.labels && map.labels[at]) || String(map.tokens ? map.tokens[at] : at);
        return element("span", { title: label, class: map.tokens && chosen.has(map.tokens[at]) && "uv-chosen" }, label);
      }));
      this.rows.replaceChildren(...range(grid.rows, Math.floor(first / grid.columns)).map((at) => element("span", {}, String(at))));
    }

    /* {plane, x, y, which} under a pointer; null between pictures. */
    under(event) {
      if (!this.grid) return null;
      const outside = this.canvas.getBoundingClientRect(), { height, width } = this.shown[0].planes, { state } = this.space;
      let x = Math.floor(((event.clientX - outside.left) / outside.width) * this.canvas.width), which = 0;
      const y = Math.floor(((event.clientY - outside.top) / outside.height) * this.canvas.height);
      if (this.second && x >= this.second) [x, which] = [x - this.second, 1];
      else if (state.mode === "Swipe" && this.shown.length > 1 && x >= state.border * this.single) which = 1;
      const [wide, high] = pitchOf(this.shown[0].planes, this.grid), { zoom, columns } = this.grid;
      const column = Math.floor(x / wide), row = Math.floor(y / high), cell = row * columns + column;
      const place = { x: Math.floor((x % wide) / zoom), y: Math.floor((y % high) / zoom) };
      if (x < 0 || y < 0 || x >= this.single || place.x >= width || place.y >= height || cell >= this.grid.count) return null;
      return { cell, plane: this.first + cell, which, ...place };
    }

    hover(event) {
      this.space.drag(event, this.canvas);
      const at = this.under(event);
      if (!at) return;
      const read = ({ name, planes }) => `${this.space.runs.length > 1 ? `${name}: ` : ""}${said(valueAt(planes, at.plane, at.y, at.x))}`;
      const said = (value) => (Number.isNaN(value) ? text("notFinite") : short(value)), of = this.shown[0].of || [];
      this.line.textContent = joined(planeText(this.map0, at.plane), placeText(this.map0, at.y, at.x), ...[...this.shown, ...of].map(read));
    }

    leave() {
      const name = this.space.state.cell == null ? text("hover") : planeText(this.map0, this.first);
      this.line.textContent = joined(this.lone, name, this.step(this.map0));
    }

    click(event) {
      const at = this.under(event);
      if (!at || this.space.dragged) return;
      this.at = this.space.state.cell == null ? at.cell : this.at;
      this.space.set({ cell: this.space.state.cell == null ? at.plane : null });
    }

    toggle() {
      if (this.grid) this.space.set({ cell: this.space.state.cell == null ? this.first + this.at : null });
    }

    turnCell(by) {
      const cell = this.from + ((this.first - this.from + by + this.all) % this.all);
      this.at = cell - this.from;
      this.space.set({ cell });
    }

    key(event) {
      const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.grid?.columns, ArrowDown: this.grid?.columns, Home: -Infinity, End: Infinity };
      if (event.ctrlKey || event.metaKey || event.altKey || !this.grid || !(event.key in moves || event.key === "Enter")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") return this.toggle();
      if (this.space.state.cell != null) return this.turnCell(Math.sign(moves[event.key]));
      this.at = clamp(this.at + moves[event.key], 0, this.grid.count - 1);
      this.moveCursor();
      this.space.say((this.line.textContent = planeText(this.map0, this.first + this.at)));
    }

    /* Frame the picture that the keyboard is at. */
    moveCursor() {
      const { columns, rows } = this.grid, single = (100 * this.single) / this.canvas.width, at = this.at;
      const [column, row] = [at % columns, Math.floor(at / columns)];
      Object.assign(this.cursor.style, { left: `${(column * single) / columns}%`, top: `${(row * 100) / rows}%`, width: `${single / columns}%`, height: `${100 / rows}%` });
      filled(this.cursor, { "aria-label": planeText(this.map0, this.first + at), "aria-colindex": column + 1, "aria-rowindex": row + 1 }, []);
      filled(this.frame, { "aria-label": joined(this.space.state.block, mapText(this.map0), this.step(this.map0)), "aria-colcount": columns, "aria-rowcount": rows }, []);
    }

    name(suffix) {
      const { block, layer, attention, kind, step } = this.map0, { state } = this.space;
      const parts = [block, layer, attention, kind, step == null ? "mean" : `step${step}`, state.head == null ? null : `head${state.head}`, state.cell == null ? null : `picture${state.cell}`, this.shown[0].signed && "difference"];
      return parts.filter((part) => part != null && part !== false).join("-") + suffix;
    }

    png() {
      this.canvas.toBlob((blob) => download(blob, this.name(".png")));
    }

    /* The planes that are saved, [first, count], and their shape: all of the map, of a head, or one. */
    saved() {
      const { shape } = this.map0;
      if (this.space.state.cell != null) return [this.first, 1, shape.slice(-2)];
      return [this.from, this.all, this.all === this.shown[0].planes.count ? shape : shape.slice(1)];
    }

    npy() {
      const [first, count, shape] = this.saved();
      for (const { name, planes } of this.shown) download(npyOf(valuesOf(planes, first, count), shape), this.name(this.shown.length > 1 ? `-${name}.npy` : ".npy"));
    }

    /* A line for each row of each picture. */
    csv() {
      const [first, count] = this.saved(), map = this.map0, quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
      for (const { name, planes } of this.shown) {
        const { height, width } = planes, values = valuesOf(planes, first, count), [row, column] = map.axes.slice(-2);
        const lines = [["picture", row, ...range(width).map((at) => `${column} ${at}`)].join(",")];
        for (let at = 0; at < count * height; at++) {
          const plane = first + Math.floor(at / height);
          lines.push([quoted(planeText(map, plane)), at % height, ...values.subarray(at * width, (at + 1) * width)].join(","));
        }
        download(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }), this.name(this.shown.length > 1 ? `-${name}.csv` : ".csv"));
      }
    }
  }

  function copied(from) {
    const canvas = element("canvas", { width: from.width, height: from.height });
    canvas.getContext("2d").drawImage(from, 0, 0);
    return canvas;
  }

  /* The steps, and the strength of the words along them. */
  class TimeLine {
    constructor(space) {
      this.space = space;
      this.slider = element("input", { type: "range", min: 0, max: Math.max(0, space.steps.length - 1), "aria-label": text("time"), oninput: () => space.set({ step: Number(this.slider.value) }) });
      this.play = button(text("play"), () => space.play(), { class: "uv-play" });
      this.said = element("output");
      this.chart = drawn("svg", { class: "uv-chart", viewBox: "0 0 1000 60", preserveAspectRatio: "none", "aria-hidden": true, onclick: (event) => this.click(event) });
      this.caption = element("span", { class: "uv-quiet" });
      this.whole = section("time", text("time"), element("div", { class: "uv-row" }, this.play, this.said, this.caption), element("div", { class: "uv-track" }, this.chart, this.slider));
    }

    click(event) {
      const { left, width } = this.chart.getBoundingClientRect(), last = this.space.steps.length - 1;
      this.space.set({ step: clamp(Math.round(((event.clientX - left) / width) * last), 0, last) });
    }

    update() {
      const { state, steps, run, timer } = this.space, step = steps[state.step], one = steps.length < 2;
      this.slider.hidden = this.play.hidden = this.chart.style.display = one ? "none" : "";
      this.slider.hidden = this.play.hidden = one;
      this.slider.value = state.step;
      this.said.textContent = step ? joined(text("step", { step: step.step }), known(step.sigma) && text("sigma", { sigma: short(step.sigma) })) : text("noSteps");
      this.slider.setAttribute("aria-valuetext", this.said.textContent);
      this.play.textContent = text(timer ? "pause" : "play");
      const curves = run.words.map((word) => steps.map((each) => this.space.byStep(word.by_step, each.step)));
      const most = Math.max(...curves.flat().filter(known), 1e-12), across = (at) => (one ? 500 : (1000 * at) / (steps.length - 1));
      const curve = (values, chosen) => drawn("polyline", { class: chosen ? "uv-curve" : "uv-other", points: values.map((value, at) => known(value) && `${across(at)},${56 - (52 * value) / most}`).filter(Boolean).join(" ") });
      const others = curves.map((values, at) => at !== state.word && curve(values, false)).filter(Boolean);
      this.chart.replaceChildren(...others, drawn("line", { class: "uv-now", x1: across(state.step), x2: across(state.step), y1: 0, y2: 60 }), ...(curves[state.word] ? [curve(curves[state.word], true)] : []));
      const word = run.words[state.word], there = curves.flat().some(known);
      this.chart.classList.toggle("uv-flat", !there);
      this.caption.textContent = !there || one ? "" : word ? `${text("curve", { word: word.text })}: ${short(curves[state.word][state.step])}` : text("curves");
    }
  }

  // The whole -------------------------------------------------------------------------------------------

  const ONE_SCREEN = "(min-width: 1100px) and (min-height: 640px)";

  class Workspace {
    constructor(root, runs, numbers) {
      Object.assign(this, { runs, numbers, blocks: runs[0].blocks, timer: null, dragged: false });
      const steps = new Map(runs.flatMap((run) => run.steps).map((step) => [step.step, step]));
      this.steps = [...steps.values()].sort((a, b) => a.step - b.step);
      const maps = runs.flatMap((run) => run.maps), held = this.steps.map((step) => maps.some((map) => map.step === step.step));
      this.state = { mode: runs.length > 1 ? "Side" : "A", word: null, step: Math.max(0, held.lastIndexOf(true)), block: null, kind: null, head: null, cell: null,
        part: 0, measure: "norm", byHand: false, colours: "viridis", scale: "Sheet", border: 0.5 };
      const there = this.blocks.map((each) => each.name).filter((name) => this.mapsOf(name).length || (runs[1] && this.mapsOf(name, runs[1]).length));
      this.state.block = there.includes("OUT08") ? "OUT08" : there[there.length - 1] || (this.blocks[0] || {}).name || (maps[0] || {}).block || null;
      this.status = element("p", { class: "uv-hidden", role: "status", "aria-live": "polite" });
      this.help = this.dialog();
      this.header = new Header(this);
      this.views = [new Picture(this), new UNetMap(this), new Sheet(this), new TimeLine(this)];
      [, this.unet, this.sheet] = this.views;
      root.replaceChildren(this.header.whole, element("main", { class: runs.length > 1 && "uv-two" }, ...this.views.map((view) => view.whole)), this.status, this.help);
      document.addEventListener("keydown", (event) => this.key(event));
      this.set({});
    }

    /* The run that words, steps and measures are of. */
    get run() {
      return this.runs[this.state.mode === "B" && this.runs.length > 1 ? 1 : 0];
    }

    dialog() {
      const keys = text("keys").split("|"), items = range(keys.length / 2).flatMap((at) => [element("dt", {}, element("kbd", {}, keys[2 * at])), element("dd", {}, keys[2 * at + 1])]);
      const dialog = element("dialog", { "aria-label": text("help"), onclick: (event) => event.target === dialog && dialog.close() },
        element("h2", {}, text("help")), element("dl", {}, ...items), button(text("close"), () => dialog.close()));
      return dialog;
    }

    set(changes) {
      const before = this.run.words[this.state.word];
      Object.assign(this.state, changes);
      if (changes.mode && !this.state.byHand && this.state.word == null) this.state.measure = changes.mode === "Difference" ? "change" : "norm";
      if (before && !("word" in changes)) this.state.word = Math.max(0, this.run.words.indexOf(this.same(before, this.run)));
      this.header.update();
      for (const view of this.views) view.update();
    }

    say(what) {
      this.status.textContent = what;
    }

    block(block) {
      this.set({ block, cell: null, part: 0 });
    }

    word(word) {
      this.set(this.state.byHand ? { word } : { word, measure: word == null ? "norm" : "word" });
    }

    /* That word of another run: of the same text, or in the same place where as many words are known. */
    same(word, run) {
      if (run.words.includes(word)) return word;
      const other = this.runs.find((each) => each.words.includes(word)), at = other.words.indexOf(word);
      if (run.words.length === other.words.length) return run.words[at];
      const nth = other.words.slice(0, at).filter((each) => each.text === word.text).length;
      return run.words.filter((each) => each.text === word.text)[nth];
    }

    byStep(values, step, run = this.run) {
      const at = run.steps.findIndex((each) => each.step === step);
      return at < 0 || !values ? null : values[at];
    }

    /* Maps of a block at the chosen step, or where there are none their means over steps, one of a kind. */
    mapsOf(block, run = null) {
      const step = this.steps[this.state.step], runs = run ? [run] : this.run === this.runs[1] ? [...this.runs].reverse() : this.runs;
      const maps = runs.flatMap((each) => [step && step.step, null].flatMap((wanted) => each.maps.filter((map) => map.block === block && map.step === wanted)));
      return [...new Map(maps.reverse().map((map) => [kindOf(map), map])).values()].reverse();
    }

    /* What blocks can be coloured by: {key, label, at(block): [value, whether a mean over steps], all()}. */
    measures() {
      const { run, state, runs } = this, step = this.steps[state.step], found = [];
      const add = (key, label, at) => {
        const all = () => this.blocks.flatMap(({ name }) => [...this.steps.map((each) => at(name, each.step)[0]), at(name, null)[0]]).filter(known);
        if (all().length) found.push({ key, label, all, at: (block) => at(block, step && step.step) });
      };
      const of = (owner, table, means) => (block, at) => {
        const value = this.byStep((table || {})[block], at, owner);
        return known(value) ? [value, false] : at != null || !Array.isArray((table || {})[block]) ? [(means || {})[block], true] : [null, true];
      };
      const norm = of(run, run.measures.norm, run.means.norm), changed = runs.find((each) => each.measures.change || each.means.change);
      add("norm", text("norm"), norm);
      add("words", text("attended"), of(run, run.measures.words, run.means.words));
      const word = run.words[state.word];
      if (word) add("word", text("word", { word: word.text }), of(run, (run.measures.word || [])[state.word], (run.means.word || [])[state.word]));
      if (changed) add("change", text("change"), of(changed, changed.measures.change, changed.means.change));
      else if (runs.length > 1) {
        const [a, b] = runs.map((each) => of(each, each.measures.norm, each.means.norm));
        add("change", text("ownChange"), (block, at) => [Math.abs(b(block, at)[0] - a(block, at)[0]) / a(block, at)[0], a(block, at)[1]]);
      }
      return found;
    }

    theme() {
      const { dataset } = document.documentElement, now = dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
      dataset.theme = now === "dark" ? "light" : "dark";
    }

    /* Move the border of a swipe to a pressed pointer. */
    drag(event, canvas) {
      if (event.type === "pointerdown") this.dragged = false;
      if (this.runs.length < 2 || this.state.mode !== "Swipe" || !event.buttons) return;
      const { left, width } = canvas.getBoundingClientRect(), border = clamp((event.clientX - left) / width, 0, 1);
      if (event.type === "pointerdown") return;
      this.dragged = true;
      this.set({ border });
    }

    /* Go through the steps, again and again, until pressed again. */
    play() {
      if (this.timer) this.timer = clearInterval(this.timer);
      else if (this.steps.length > 1) this.timer = setInterval(() => this.set({ step: (this.state.step + 1) % this.steps.length }), 500);
      this.set({});
    }

    key(event) {
      const inField = event.target.matches && event.target.matches("select, input");
      if (event.ctrlKey || event.metaKey || event.altKey || inField || this.help.open) return;
      if (event.key === " " && event.target.matches("button, summary")) return;
      const { state, runs, sheet } = this, names = this.blocks.map((each) => each.name), maps = this.mapsOf(state.block), whole = { cell: null, part: 0 };
      const step = (by) => this.set({ step: clamp(state.step + by, 0, Math.max(0, this.steps.length - 1)) });
      const turn = (by) => {
        if (!names.length) return;
        this.block(next(names, state.block, by));
        if (document.activeElement.closest(".uv-unet svg")) this.unet.groups.get(state.block).focus();
      };
      const heads = sheet.grid && sheet.map0.axes[0] === "head" ? sheet.map0.shape[0] : 0;
      const act = {
        ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1),
        w: () => this.run.words.length && this.word(next([null, ...this.run.words.keys()], state.word)),
        h: () => heads > 1 && this.set({ head: next([null, ...range(heads)], state.head), ...whole }),
        m: () => maps.length && this.set({ kind: kindOf(next(maps, maps.find((map) => kindOf(map) === state.kind) || maps[0])), head: null, ...whole }),
        c: () => this.set({ colours: next(Object.keys(TABLES), state.colours) }),
        n: () => this.set({ scale: next(SCALES, state.scale) }),
        d: () => (runs.length > 1 ? this.set({ mode: state.mode === "Difference" ? "Side" : "Difference" }) : this.say((sheet.line.textContent = text("oneRun")))),
        z: () => sheet.toggle(), " ": () => this.play(), "?": () => this.help.showModal(),
        Escape: () => state.cell != null && this.set({ cell: null }),
      }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    }
  }

  /* A run with everything that the manifest may leave out. */
  function completed(run, at) {
    const list = (value) => (Array.isArray(value) ? value : []);
    const lists = Object.fromEntries(["notes", "steps", "blocks", "tokens", "words", "maps"].map((name) => [name, list(run[name])]));
    lists.maps = lists.maps.filter((map) => map.values && Array.isArray(map.shape) && Array.isArray(map.axes));
    return { prompt: "", negative: "", which: "", picture: null, ...run, name: run.name || "AB"[at], measures: run.measures || {}, means: run.means || {}, ...lists };
  }

  /* Draw the workspace, or say why it cannot be drawn. */
  function start() {
    const root = document.getElementById("uv-workspace");
    document.documentElement.lang = LANGUAGE;
    try {
      const manifest = JSON.parse(document.getElementById("uv-manifest").textContent);
      if (manifest.format !== 1) throw new Error(text("format", { format: manifest.format }));
      const runs = (Array.isArray(manifest.runs) ? manifest.runs : []).slice(0, 2).map(completed);
      if (!runs.length) throw new Error(text("noRun"));
      const space = new Workspace(root, runs, new Numbers(document.getElementById("uv-numbers").textContent));
      window.uvWorkspace = { messages: MESSAGES, space };
    } catch (error) {
      root.replaceChildren(element("p", { class: "uv-problem", role: "alert" }, text("broken", { why: error.message })));
      document.documentElement.dataset.ready = "";
    }
  }
  start();
})();
