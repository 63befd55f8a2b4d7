/* The workspace: a run of a diffusion U-Net, or two to compare, drawn from the numbers within this page.

   docs/explore.md says what the manifest holds. A map has 8 bits a value over each picture's own range: value =
   low + (high - low) * level / 254; level 255 is not finite. Nothing is ever requested from elsewhere. */
"use strict";
(() => {
  const read = (id) => document.getElementById(id).textContent;
  const MESSAGES = JSON.parse(read("uv-messages"));
  const LANGUAGE = /^ja/i.test(navigator.language || "") ? "ja" : "en";

  /* The message of that name, with its {places} filled. */
  const text = (name, values = {}) => MESSAGES[LANGUAGE][name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));

  const element = (tag, given, ...children) => filled(document.createElement(tag), given, children);
  const SVG = "http://www.w3.org/2000/svg", drawn = (tag, given, ...children) => filled(document.createElementNS(SVG, tag), given, children);

  function filled(node, given, children = []) {
    for (const [name, value] of Object.entries(given || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null && child !== false));
    return node;
  }

  const button = (label, act, given) => element("button", { type: "button", onclick: act, ...given }, label);
  const canvasOf = (width, height) => Object.assign(element("canvas"), { width, height });
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

  /* What `made` makes for a key; of those looked at last, `most` are kept. */
  function remembered(found, key, most, made, dropped = () => {}) {
    const value = found.has(key) ? found.get(key) : made();
    found.delete(key);
    found.set(key, value);
    for (const [oldest, old] of [...found].slice(0, -most)) {
      found.delete(oldest);
      dropped(old);
    }
    return value;
  }

  // Numbers ---------------------------------------------------------------------------------------------
  const NOT_FINITE = 255, LEVELS = 254;

  /* What the manifest refers to by place and length; a map is inflated when it is first looked at. */
  class Numbers {
    constructor(base64) {
      this.bytes = Uint8Array.from(atob(base64.trim()), (letter) => letter.charCodeAt(0));
      this.found = new Map();
    }
    part({ at, bytes }) { return this.bytes.subarray(at, at + bytes); }
    /* A promise of {count, height, width, low, high, levels}. */
    planes(where) { return remembered(this.found, where, 48, () => this.inflated(where)); }
    async inflated(where) {
      const stream = new Blob([this.part(where)]).stream().pipeThrough(new DecompressionStream("deflate"));
      const buffer = await new Response(stream).arrayBuffer();
      const count = where.planes, [height, width] = where.shape;
      const [low, high] = [0, 4 * count].map((at) => new Float32Array(buffer, at, count));
      return { count, height, width, low, high, levels: new Uint8Array(buffer, 8 * count, count * height * width) };
    }
  }

  const valueOf = ({ low, high }, plane, level) => level === NOT_FINITE ? NaN : low[plane] + ((high[plane] - low[plane]) * level) / LEVELS;

  /* float32 values of planes [first, first + count). */
  function valuesOf(planes, first, count) {
    const size = planes.height * planes.width;
    const levels = planes.levels.subarray(first * size, (first + count) * size);
    return Float32Array.from(levels, (level, at) => valueOf(planes, first + Math.floor(at / size), level));
  }

  /* B - A of two maps of one shape, again with 8 bits over each picture's range. */
  function differenceOf(a, b) {
    const size = a.height * a.width, levels = new Uint8Array(a.levels.length);
    const [low, high] = [new Float32Array(a.count), new Float32Array(a.count)], values = new Float32Array(size);
    for (let plane = 0; plane < a.count; plane++) {
      let [least, most] = [Infinity, -Infinity];
      for (let at = 0; at < size; at++) {
        const [before, after] = [a.levels[plane * size + at], b.levels[plane * size + at]];
        const value = (values[at] = valueOf(b, plane, after) - valueOf(a, plane, before));
        if (value < least) least = value;
        if (value > most) most = value;
      }
      [low[plane], high[plane]] = least > most ? [0, 0] : [least, most];
      const scale = most > least ? LEVELS / (most - least) : 0;
      for (let at = 0; at < size; at++) {
        levels[plane * size + at] = Number.isNaN(values[at]) ? NOT_FINITE : Math.round((values[at] - least) * scale);
      }
    }
    return { count: a.count, height: a.height, width: a.width, low, high, levels };
  }

  // Colours and ranges ----------------------------------------------------------------------------------
  const ANCHORS = {
    viridis: "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    inferno: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    grey: "000000 ffffff",
    "blue-white-red": "2166ac 67a9cf d1e5f0 f7f7f7 fddbc7 ef8a62 b2182b",
  };
  const TABLES = Object.fromEntries(Object.entries(ANCHORS).map(([name, anchors]) => [name, tableOf(anchors)]));
  const SIGNED = "blue-white-red", HEAT = "inferno", SCALES = ["Each", "Sheet", "Percentile", "Symmetric"];

  /* 256 colours (r, g, b, 255) between the anchors, as bytes. */
  function tableOf(anchors) {
    const given = anchors.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    return Uint8Array.from(range(1024), (at) => {
      const place = (Math.floor(at / 4) / 255) * (given.length - 1), from = Math.min(given.length - 2, Math.floor(place));
      const [low, high] = [given[from][at % 4], given[from + 1][at % 4]];
      return at % 4 === 3 ? 255 : Math.round(low + (high - low) * (place - from));
    });
  }

  const colourAt = (table, part) => table.subarray(4 * Math.round(255 * part), 4 * Math.round(255 * part) + 3);
  const css = (colour) => `rgb(${[...colour].join(" ")})`;
  const share = (value, low, high) => (high > low ? clamp((value - low) / (high - low), 0, 1) : 0.5);

  /* Black or white, whichever is easier to read on the colour. */
  function inkOn(colour) {
    const [red, green, blue] = [...colour].map((part) => (part <= 10 ? part / 3295 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
  }

  /* [low, high] over planes [first, first + count) of all maps; null: each picture over its own. Percentiles are what
     1 % and 99 % of the values lie below, to a 4096th of their range. */
  function limitsOf(maps, scale, first, count) {
    if (scale === "Each") return null;
    const ends = maps.flatMap(({ low, high }) => [low, high].flatMap((all) => [...all.subarray(first, first + count)]));
    const [low, high] = [Math.min(...ends), Math.max(...ends)], most = Math.max(-low, high, 0), bins = new Float64Array(4096);
    if (scale !== "Percentile") return scale === "Symmetric" ? [-most, most] : [low, high];
    const width = (high - low || 1) / 4095;
    for (const planes of maps) {
      const size = planes.height * planes.width;
      for (let at = first * size; at < (first + count) * size; at++) {
        const value = valueOf(planes, Math.floor(at / size), planes.levels[at]);
        if (value === value) bins[Math.round((value - low) / width)]++;
      }
    }
    const total = bins.reduce((sum, bin) => sum + bin, 0);
    const below = (part, sum = 0) => low + Math.max(0, bins.findIndex((bin) => (sum += bin) >= part * total)) * width;
    return [below(0.01), below(0.99)];
  }

  // Painting --------------------------------------------------------------------------------------------
  // Pixels between pictures, of a sheet's sides, and across a texture of values; the shader in the shell knows the first and last.
  const GAP = 1, LONGEST = 4096, WIDE = 2048;

  /* How `count` pictures fill a box best: {columns, rows, count, parts, zoom}. columns: given, or to be found.
     zoom: pixels on a side of a value, so that small pictures have no wide gaps. */
  function gridOf(count, planes, box, columns) {
    const zoom = Math.max(1, Math.floor((count > 1 ? 48 : 512) / Math.max(planes.width, planes.height)));
    const [wide, high] = pitchOf(planes, { zoom });
    const most = Math.floor(LONGEST / wide), each = Math.floor(LONGEST / high) * most, here = Math.min(count, each);
    const size = (across) => Math.min(box.width / (across * wide), box.height / (Math.ceil(here / across) * high));
    columns = columns || range(Math.min(here, most), 1).reduce((one, other) => (size(other) > size(one) ? other : one), 1);
    return { columns, rows: Math.ceil(here / columns), count: here, parts: Math.ceil(count / each), zoom };
  }

  const pitchOf = ({ width, height }, { zoom }) => [zoom * width + GAP, zoom * height + GAP];
  const sizeOf = (planes, grid) => pitchOf(planes, grid).map((pitch, at) => pitch * (at ? grid.rows : grid.columns) - GAP);

  /* Sheets by WebGL2: a map's levels are one texture; the shell's shader applies colours and ranges. */
  class Painter {
    constructor() {
      this.canvas = element("canvas");
      const gl = this.canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false });
      const about = gl && gl.getExtension("WEBGL_debug_renderer_info"), device = about && gl.getParameter(about.UNMASKED_RENDERER_WEBGL);
      if (!gl || /swiftshader|llvmpipe|software|basic render/i.test(device)) return; // by a CPU, a canvas is quicker
      this.gl = gl;
      const program = (this.program = gl.createProgram());
      for (const [kind, source] of [[gl.VERTEX_SHADER, "uv-vertex"], [gl.FRAGMENT_SHADER, "uv-fragment"]]) {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, read(source));
        gl.compileShader(shader);
        gl.attachShader(program, shader);
      }
      gl.linkProgram(program);
      if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
      gl.useProgram(program);
      ["levels", "ends", "colours"].forEach((name, unit) => gl.uniform1i(this.place(name), unit));
      this.kept = new Map(); // textures by what they hold
    }
    place(name) { return this.gl.getUniformLocation(this.program, name); }
    /* A texture of that width that holds values row by row, `each` numbers to a pixel. */
    texture(values, each, wide, [inner, outer, type]) {
      const { gl } = this, texture = gl.createTexture(), high = Math.ceil(values.length / (wide * each));
      const whole = new values.constructor(wide * high * each);
      whole.set(values);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, inner, wide, high, 0, outer, type, whole);
      for (const use of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, use, gl.NEAREST);
      return texture;
    }
    texturesOf(planes, table) {
      const { gl, kept } = this, drop = (textures) => textures.forEach((each) => gl.deleteTexture(each));
      const ends = () => Float32Array.from(range(2 * planes.count), (at) => (at % 2 ? planes.high : planes.low)[at >> 1]);
      return [
        ...remembered(kept, planes, 12, () => [this.texture(planes.levels, 1, WIDE, [gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE]),
          this.texture(ends(), 2, WIDE, [gl.RG32F, gl.RG, gl.FLOAT])], drop),
        ...remembered(kept, table, 12, () => [this.texture(table, 4, 256, [gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE])], drop),
      ];
    }
    paint(planes, grid, first, limits, table) {
      const { gl, canvas } = this, room = gl && !gl.isContextLost() ? WIDE * gl.getParameter(gl.MAX_TEXTURE_SIZE) : 0;
      if (planes.levels.length > room) return painted(planes, grid, first, limits, table);
      this.texturesOf(planes, table).forEach((texture, unit) => {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, texture);
      });
      [canvas.width, canvas.height] = sizeOf(planes, grid);
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.uniform2i(this.place("size"), planes.width, planes.height);
      gl.uniform2f(this.place("limits"), ...(limits || [0, 0]));
      const { zoom, columns, count } = grid, given = { zoom, columns, first, count, tall: canvas.height, each: limits ? 0 : 1 };
      for (const [name, value] of Object.entries(given)) gl.uniform1i(this.place(name), value);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      return canvas;
    }
  }

  /* The same without a GPU, or where a map is larger than a texture. */
  function painted(planes, grid, first, limits, table) {
    const { height, width } = planes, { zoom } = grid, [wide, high] = pitchOf(planes, grid);
    const canvas = canvasOf(...sizeOf(planes, grid)), context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height), pixels = new Uint32Array(image.data.buffer);
    const colours = new Uint32Array(table.buffer), own = new Uint32Array(256).fill(0xffff00ff);
    for (let cell = 0; cell < grid.count; cell++) {
      const plane = first + cell, [low, big] = limits || [planes.low[plane], planes.high[plane]];
      const colour = (level) => colours[Math.round(255 * share(valueOf(planes, plane, level), low, big))];
      own.set(range(LEVELS + 1).map(colour));
      const left = (cell % grid.columns) * wide, top = Math.floor(cell / grid.columns) * high;
      for (let y = 0; y < high - GAP; y++) {
        const from = (plane * height + Math.floor(y / zoom)) * width, to = (top + y) * canvas.width + left;
        for (let x = 0; x < wide - GAP; x++) pixels[to + x] = own[planes.levels[from + Math.floor(x / zoom)]];
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /* Onto a canvas one sheet, or two beside each other, or the second over the first from a border on. parts: each makes
     its own when it is its turn; the place where a second one begins is returned. */
  function composed(canvas, [width, height], parts, mode, border) {
    const beside = mode === "Side" && parts.length > 1, second = width + Math.ceil(width / 40), context = canvas.getContext("2d");
    [canvas.width, canvas.height] = [beside ? second + width : width, height];
    parts.forEach((made, at) => {
      const from = at && mode === "Swipe" ? Math.round(border * width) : 0, to = from + (at && beside ? second : 0);
      if (from >= width) return;
      context.clearRect(to, 0, width - from, height);
      context.drawImage(made(), from, 0, width - from, height, to, 0, width - from, height);
    });
    return beside ? second : 0;
  }

  /* A file in numpy's own format. */
  function npyOf(values, shape) {
    let head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
    head += " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
    return new Blob([new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]), head, values]);
  }

  // Names -----------------------------------------------------------------------------------------------
  const kindOf = (map) => `${map.kind} ${map.attention} ${map.layer}`;
  const each = (map) => (map.shape.length > 3 ? map.shape[1] : 1); // pictures of a head, or 1

  function axisText(map, axis, at) {
    if (axis !== "token") return text(axis, { at });
    const label = map.labels && map.labels[at];
    return label ? text("token", { text: label }) : text("tokenAt", { at: map.tokens ? map.tokens[at] : at });
  }

  /* Which picture of a map that is: "head 3, token “cat”". */
  function planeText(map, plane) {
    const places = map.shape.length > 3 ? [Math.floor(plane / each(map)), plane % each(map)] : [plane];
    return map.axes.slice(0, -2).map((axis, at) => axisText(map, axis, places[at])).join(", ");
  }

  function placeText(map, y, x) {
    const [row, column] = map.axes.slice(-2);
    return row === "y" ? text("place", { x, y }) : `${axisText(map, row, y)}, ${axisText(map, column, x)}`;
  }

  const mapText = ({ kind, attention, layer }) => kind === "features" ? text(kind) :
    text("attention", { kind: attention ? text(attention) : "", what: kind, layer: layer ?? 0 });
  const stepText = (map) => (map.step == null ? text("mean") : text("step", { step: map.step }));

  // Parts of the page -----------------------------------------------------------------------------------
  /* A labelled choice; set() fills it and hides it where there is nothing to choose. */
  function choice(label, changed) {
    const select = element("select", { "aria-label": label, onchange: () => changed(select.value) });
    const whole = element("label", { class: "uv-choice" }, element("span", {}, label), select);
    const set = (options, value) => {
      if (JSON.stringify(options) !== select.dataset.options) {
        select.replaceChildren(...options.map(([key, shown]) => element("option", { value: key }, shown)));
        select.dataset.options = JSON.stringify(options);
      }
      select.value = String(value);
      whole.hidden = options.length < 2;
    };
    return { whole, select, set };
  }

  /* A colour bar with what its ends mean. */
  function fillBar(bar, table, [low, high]) {
    const style = `background: linear-gradient(to right, ${range(9).map((at) => css(colourAt(table, at / 8))).join(", ")})`;
    bar.replaceChildren(element("span", {}, low), element("i", { style }), element("span", {}, high));
  }

  const box = (name, ...children) => element("div", { class: `uv-${name}` }, ...children);
  const section = (name, ...children) => element("section", { class: `uv-${name}`, "aria-label": text(name) }, ...children);
  const MODES = ["A", "B", "Side", "Swipe", "Difference"];

  /* Whose run, how two are compared, notes, theme and keys. */
  class Header {
    constructor(space) {
      const { runs } = space, two = runs.length > 1;
      this.space = space;
      this.modes = MODES.map((mode) => button(text(`mode${mode}`), () => space.set({ mode }), { "data-mode": mode }));
      this.border = element("input", { type: "range", max: 1000, class: "uv-border", "aria-label": text("swipe"),
        oninput: () => space.set({ border: this.border.value / 1000 }) });
      const notes = runs.flatMap((run) => run.notes.map((note) => element("li", {}, two ? `${run.name}: ${note}` : note)));
      const summary = element("summary", {}, `${text("notes")} (${notes.length})`), list = notes.length > 0 && element("details", {}, summary, element("ul", {}, ...notes));
      this.whole = element("header", {}, box("runs", ...runs.map((run) => this.described(run, two)), list), box("tools",
        two && element("div", { class: "uv-modes", role: "group", "aria-label": text("compare") }, ...this.modes),
        button("◐", () => space.theme(), { "aria-label": text("theme"), title: text("theme") }),
        button("?", () => space.help.showModal(), { "aria-label": text("help"), title: text("help") }), this.border));
    }
    described(run, two) {
      const seed = run.seed == null ? null : text("seed", { seed: run.seed });
      const title = run.prompt || text("untitled", { name: run.name }), quiet = { class: "uv-quiet" };
      return box("run", element(two ? "h2" : "h1", {}, two && element("b", {}, run.name), title),
        element("p", quiet, joined(run.model, seed, run.which)),
        run.negative && element("p", quiet, text("negative", { text: run.negative })));
    }
    update() {
      const { mode, border } = this.space.state;
      for (const button of this.modes) button.setAttribute("aria-pressed", button.dataset.mode === mode);
      this.border.hidden = mode !== "Swipe";
      this.border.value = Math.round(1000 * border);
    }
  }

  /* The picture, grey under the heat of the chosen word, and the words. */
  class Picture {
    constructor(space) {
      Object.assign(this, { space, turn: 0, names: box("names"), bar: box("bar") });
      const drag = (event) => space.drag(event, this.canvas);
      this.canvas = element("canvas", { role: "img", onpointermove: drag, onpointerdown: drag });
      this.said = element("p", { class: "uv-said" });
      const most = Math.max(...space.words.map(({ first }) => first.strength || 0)) || 1;
      this.words = element("div", { class: "uv-words", role: "group", "aria-label": text("words") },
        ...space.words.map((word, at) => this.chip(word, at, most)));
      this.whole = section("picture", element("h2", {}, text("picture")), this.names, this.canvas, this.bar, this.said,
        element("h3", {}, text("words")), this.words);
      this.images = space.runs.map(async ({ picture }) => picture &&
        createImageBitmap(new Blob([space.numbers.part(picture)], { type: picture.mime })).catch(() => null));
    }
    chip({ first }, at, most) {
      const said = this.strength(first), choose = () => this.space.set({ word: this.space.state.word === at ? null : at });
      const chip = button(first.text, choose, { class: "uv-chip", title: said, "aria-label": `${first.text}, ${said}` });
      chip.append(element("i", { style: `width: ${Math.round((100 * (first.strength || 0)) / most)}%` }));
      return chip;
    }
    strength(word) { return known(word.strength) ? text("strength", { value: short(word.strength) }) : text("noStrength"); }
    update() {
      [...this.words.children].forEach((chip, at) => chip.setAttribute("aria-pressed", at === this.space.state.word));
      this.draw(++this.turn);
    }
    async draw(turn) {
      const { state, runs, words } = this.space, word = words[state.word], both = runs.length > 1 && !"AB".includes(state.mode);
      const wanted = both ? [0, 1] : [this.space.main];
      let layers = (await Promise.all(wanted.map((at) => this.layer(at, word)))).filter(Boolean);
      const signed = layers.length === 2 && state.mode === "Difference";
      if (signed) layers = [await this.difference(word)];
      if (turn !== this.turn) return;
      const shown = layers.length > 0, side = layers.length === 2 && state.mode === "Side";
      this.canvas.hidden = !shown;
      if (shown) composed(this.canvas, [layers[0].width, layers[0].height], layers.map((layer) => () => layer), state.mode, state.border);
      this.names.hidden = !side;
      this.names.replaceChildren(...(side ? runs.map((run) => element("span", {}, run.name)) : []));
      const found = wanted.map((at) => word && word.of[at]), heat = found.some((each) => each && each.map);
      this.bar.hidden = !heat || !shown;
      fillBar(this.bar, TABLES[signed ? SIGNED : HEAT], signed ? ["A", "B"] : [text("low"), text("high")]);
      const strengths = () => found.map((each, at) => (both ? `${runs[at].name}: ` : "") + (each ? this.strength(each) : "–")).join(", ");
      const said = word && `“${word.first.text}” ${heat ? strengths() : text("noHeat", { word: word.first.text })}`;
      this.said.textContent = joined(!shown && text("noPicture"), said || text(words.length ? "wordsHint" : "noWords"));
      this.canvas.setAttribute("aria-label", joined(text("picture"), said));
    }
    /* One run's picture on a canvas, with a word's heat over it. */
    async layer(at, word) {
      const image = await this.images[at], own = word && word.of[at];
      const heat = own && own.map ? await this.space.numbers.planes(own.map).catch(() => null) : null;
      if (!image && !heat) return null;
      const canvas = this.ground(image, heat, word);
      if (heat) this.lay(canvas, heat, TABLES[HEAT], (part) => 0.1 + 0.8 * part, [heat.low[0], heat.high[0]]);
      return canvas;
    }
    /* The picture at 512 pixels or more; grey and dim under heat. */
    ground(image, heat, grey) {
      const { width, height } = image || heat, scale = Math.max(1, Math.ceil(512 / width));
      const canvas = canvasOf(scale * width, scale * height), context = canvas.getContext("2d");
      context.imageSmoothingEnabled = scale < 4;
      if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
      for (const [operation, fill] of grey ? [["saturation", "grey"], ["source-over", "rgb(0 0 0 / 0.35)"]] : []) {
        Object.assign(context, { globalCompositeOperation: operation, fillStyle: fill }).fillRect(0, 0, canvas.width, canvas.height);
      }
      return canvas;
    }
    /* Lay a map over a canvas, each value as opaque as opacity() says of its share of the range. */
    lay(canvas, planes, table, opacity, [low, high]) {
      const small = canvasOf(planes.width, planes.height), image = new ImageData(planes.width, planes.height);
      valuesOf(planes, 0, 1).forEach((value, at) => {
        const part = share(value, low, high);
        if (!Number.isNaN(value)) image.data.set([...colourAt(table, part), 255 * Math.min(1, opacity(part))], 4 * at);
      });
      small.getContext("2d").putImageData(image, 0, 0);
      const context = Object.assign(canvas.getContext("2d"), { imageSmoothingEnabled: true, imageSmoothingQuality: "high" });
      context.drawImage(small, 0, 0, canvas.width, canvas.height);
    }
    /* B - A: of the word's heat over A's picture; of the pictures around grey. */
    async difference(word) {
      const images = await Promise.all(this.images), heats = word ? word.of : [];
      if (heats.length && heats.every((own) => own && own.map)) {
        const planes = differenceOf(...(await Promise.all(heats.map((own) => this.space.numbers.planes(own.map)))));
        const canvas = this.ground(images[0], planes, true), most = Math.max(-planes.low[0], planes.high[0]);
        this.lay(canvas, planes, TABLES[SIGNED], (part) => 0.1 + 1.8 * Math.abs(part - 0.5), [-most, most]);
        return canvas;
      }
      const [a, b] = images.map((image) => this.ground(image || images.find(Boolean), null, false)), context = a.getContext("2d");
      Object.assign(context, { globalCompositeOperation: "difference", fillStyle: "white" }).fillRect(0, 0, a.width, a.height);
      Object.assign(context, { globalCompositeOperation: "source-over", globalAlpha: 0.5 }).drawImage(b, 0, 0, a.width, a.height);
      return a; // half of B and half of A's negative
    }
  }

  /* The U: in blocks down on the left, out blocks up on the right, each level with the one whose skip it reads. */
  class UNetMap {
    constructor(space) {
      Object.assign(this, { space, groups: new Map(), bar: box("bar") });
      this.measure = choice(text("measure"), (measure) => space.set({ measure, byHand: true }));
      const some = space.blocks.length > 0, none = element("p", { class: "uv-quiet" }, text("noBlocks"));
      this.whole = section("unet", box("row", element("h2", {}, text("unet")), this.measure.whole), some ? this.drawing() : none,
        this.bar, some && element("p", { class: "uv-said" }, "● ", text("dots")));
    }
    drawing() {
      const { blocks } = this.space, [width, wide, high, pitch] = [360, 62, 24, 31], places = {}, lines = [], labels = [];
      const [down, middle, up] = ["in", "mid", "out"].map((path) => blocks.filter((block) => block.path === path));
      const sides = [...new Set(down.map((block) => String(block.size)))], rows = Math.max(down.length, up.length);
      const inset = (block) => 6 + 15 * Math.max(0, sides.indexOf(String(block && block.size)));
      down.forEach((block, at) => (places[block.name] = [inset(block), 4 + pitch * at]));
      up.forEach((block, at) => (places[block.name] = [width - wide - inset(down[rows - 1 - at]), 4 + pitch * (rows - 1 - at)]));
      middle.forEach(({ name }, at) => (places[name] = [(width - wide) / 2 + (at - (middle.length - 1) / 2) * 70, 10 + pitch * rows]));
      sides.forEach((side, at) => {
        const same = down.filter((block) => String(block.size) === side), y = pitch * down.indexOf(same[0]), height = pitch * same.length;
        lines.push(drawn("rect", { class: "uv-band", x: 15 * at, y: y + 1, width: width - 30 * at, height: height - 2, rx: 8 }));
        if (same[0].size) labels.push(drawn("text", { class: "uv-size", x: width / 2, y: y + height / 2 + 4 }, same[0].size.join(" × ")));
      });
      const line = (name, d) => lines.push(drawn("path", { class: name, d }));
      blocks.slice(1).forEach(({ name }, at) => line("uv-path", pathOf(places[blocks[at].name], places[name], wide, high)));
      for (const { name, skip } of down.filter((block) => places[block.skip])) {
        line("uv-skip", `M${places[name][0] + wide} ${places[name][1] + high / 2} L${places[skip][0]} ${places[skip][1] + high / 2}`);
      }
      for (const { name } of blocks) {
        const [x, y] = places[name], choose = () => this.space.choose(name), onkeydown = (event) => event.key === "Enter" && choose();
        const given = { role: "radio", class: "uv-block", "data-block": name, onclick: choose, onkeydown };
        this.groups.set(name, drawn("g", given, drawn("title"), drawn("rect", { x, y, width: wide, height: high, rx: 6 }),
          drawn("text", { x: x + wide / 2, y: y + high / 2 + 4 }, name), drawn("circle", { cx: x + wide - 6, cy: y + 6, r: 2.2 })));
      }
      const given = { viewBox: `0 0 ${width} ${pitch * rows + (middle.length ? 40 : 4)}`, role: "radiogroup", "aria-label": text("unet") };
      return drawn("svg", given, ...lines, ...labels, ...this.groups.values());
    }
    update() {
      const measures = this.space.measures(), chosen = measures.find(({ key }) => key === this.space.state.measure) || measures[0];
      this.measure.set(measures.map(({ key, label }) => [key, label]), chosen ? chosen.key : "");
      const all = chosen ? chosen.all : [], low = Math.min(...all), high = Math.max(...all);
      for (const block of this.space.blocks) this.colour(block, chosen, low, high);
      this.bar.hidden = !all.length;
      fillBar(this.bar, TABLES.viridis, [short(low), short(high)]);
    }
    colour({ name, size, channels }, measure, low, high) {
      const group = this.groups.get(name), [title, rect, label, dot] = group.children, here = name === this.space.state.block;
      const [value, mean] = measure ? measure.at(name) : [], colour = known(value) && colourAt(TABLES.viridis, share(value, low, high));
      const maps = this.space.runs.some((run) => run.maps.some(({ block }) => block === name));
      rect.style.fill = colour ? css(colour) : "";
      label.style.fill = dot.style.fill = colour ? inkOn(colour) : "";
      dot.style.display = maps ? "" : "none";
      group.classList.toggle("uv-none", !colour);
      const said = measure && `${measure.label}: ${colour ? short(value) : text("noMeasure")}${colour && mean ? ` (${text("mean")})` : ""}`;
      const count = channels && text("count", { count: channels });
      title.textContent = joined(name, size && size.join(" × "), count, said, maps && text("hasMaps"));
      filled(group, { "aria-checked": String(here), tabindex: here ? 0 : -1, "aria-label": title.textContent });
    }
  }

  /* From one block's box to the next one's: along a column, or around the corner to and from the middle. */
  function pathOf([x1, y1], [x2, y2], width, height) {
    const from = x1 + width / 2, to = x2 + width / 2, down = y2 > y1;
    if (Math.abs(from - to) < 40) return `M${from} ${down ? y1 + height : y1} L${to} ${down ? y2 : y2 + height}`;
    return down ? `M${from} ${y1 + height} V${y2 + height / 2} H${x2}` : `M${x1 + width} ${y1 + height / 2} H${to} V${y2 + height}`;
  }

  /* The maps of the chosen block: all pictures of one at a time, or one of them enlarged. */
  class Sheet {
    constructor(space) {
      Object.assign(this, { space, painter: new Painter(), at: 0, turn: 0, differences: new WeakMap(), bar: box("bar") });
      const labels = [["kind", "map"], ["head", "heads"], ["colours", "colours"], ["scale", "scale"], ["part", "part"]];
      this.choices = Object.fromEntries(labels.map(([name, label]) => [name, choice(text(label), (value) => this.chosen(name, value))]));
      this.picked = box("row uv-choices", ...labels.map(([name]) => this.choices[name].whole));
      [this.title, this.facts] = [element("h2"), element("p", { class: "uv-quiet" })];
      this.canvas = element("canvas", { "aria-hidden": true });
      this.cursor = element("div", { class: "uv-cursor", role: "gridcell", id: "uv-cell" });
      this.frame = element("div", { class: "uv-canvas", role: "grid", tabindex: 0, "aria-activedescendant": "uv-cell",
        "aria-describedby": "uv-grid-help", onpointermove: (event) => this.hover(event), onclick: (event) => this.click(event),
        onpointerdown: (event) => space.drag(event, this.canvas), onpointerleave: () => this.leave(),
        onkeydown: (event) => this.key(event) }, this.canvas, element("div", { role: "row" }, this.cursor));
      [this.columns, this.rows] = ["columns", "rows"].map((name) => filled(box(name), { "aria-hidden": true }));
      this.box = box("box", box("frame", this.columns, this.rows, this.frame));
      [this.line, this.empty] = ["read", "empty"].map((name) => element("p", { class: `uv-${name}` }));
      this.zoom = button("", () => this.toggle());
      this.turns = [["previous", -1], ["next", 1]].map(([name, by]) => button(text(name), () => this.turnCell(by)));
      const saves = [["savePng", () => this.png()], ["saveNpy", () => this.npy()], ["saveCsv", () => this.csv()]];
      this.tools = box("row uv-under", this.zoom, ...this.turns, filled(box("saves", element("span", {}, text("save")),
        ...saves.map(([name, act]) => button(text(name), act))), { role: "group", "aria-label": text("save") }));
      this.whole = section("sheet", box("row", this.title, this.facts), this.picked, this.empty, this.box, this.line, this.bar,
        this.tools, element("p", { id: "uv-grid-help", class: "uv-hidden" }, text("gridHelp")));
      new ResizeObserver(() => this.shown && this.room !== this.measured() && this.show()).observe(this.box);
    }
    chosen(name, value) {
      const number = name === "part" || (name === "head" && value !== "");
      const fresh = { kind: { head: null, part: 0, cell: null }, head: { part: 0, cell: null }, part: { cell: null } }[name];
      this.space.set({ [name]: number ? Number(value) : value || null, ...fresh });
    }
    update() { this.draw(++this.turn); }
    async draw(turn) {
      const { space } = this, { state } = space, maps = space.mapsOf(state.block), block = space.blocks.find(({ name }) => name === state.block);
      const map = (this.map = maps.find((each) => kindOf(each) === state.kind) || maps[0]);
      this.choices.kind.set(maps.map((each) => [kindOf(each), mapText(each)]), map ? kindOf(map) : "");
      this.title.textContent = state.block || text("sheet");
      this.facts.textContent = block ? joined(block.size && block.size.join(" × "), block.channels && text("count", { count: block.channels })) : "";
      let found = null, why = map ? text("brokenMap") : this.missing();
      if (map) found = await this.loaded(map).catch(() => null);
      if (turn !== this.turn) return;
      this.shown = found;
      for (const part of [this.picked, this.box, this.bar, this.line, this.tools]) part.hidden = !found;
      this.empty.hidden = !!found;
      if (found) this.show();
      else space.say((this.empty.textContent = why));
      document.documentElement.dataset.ready = "";
    }
    /* Why there is nothing to see. */
    missing() {
      const { runs, state } = this.space, maps = runs.flatMap((run) => run.maps), own = maps.filter(({ block }) => block === state.block);
      if (!own.length) return maps.length ? text("noBlockMaps", { block: state.block }) : text("noFeatures");
      const steps = [...new Set(own.map(({ step }) => step))].sort((a, b) => a - b).join(", ");
      return `${text("noMaps", { block: state.block })} ${text("atSteps", { steps })}`;
    }
    /* [{name, planes}] to be drawn: of one run, of both, or their difference, `of` both. */
    async loaded(map) {
      const { runs, state, numbers } = this.space, like = (each) => joined(kindOf(each), each.step, each.shape.join());
      const own = runs.map((run) => this.space.mapsOf(state.block, [run]).find((each) => like(each) === like(map)));
      const there = runs.map(({ name }, at) => ({ name, map: own[at] })).filter((each) => each.map);
      const both = await Promise.all(there.map(async (each) => ({ name: each.name, planes: await numbers.planes(each.map.values) })));
      this.lone = runs.length > 1 && both.length < 2 && text("noOther", { name: both[0].name });
      if (both.length < 2 || state.mode === "A") return [both[0]];
      if (state.mode !== "Difference") return state.mode === "B" ? [both[1]] : both;
      const [a, b] = both.map(({ planes }) => planes);
      if (!this.differences.has(b)) this.differences.set(b, differenceOf(a, b));
      return [{ name: "B − A", planes: this.differences.get(b), of: both }];
    }
    show() {
      const { map, shown, choices } = this, { state, runs } = this.space, { planes, of } = shown[0], whole = state.cell == null;
      const heads = map.axes[0] === "head" ? map.shape[0] : 0, head = heads > 1 && state.head < heads ? state.head : null;
      const [from, all] = head == null ? [0, planes.count] : [head * each(map), each(map)];
      const colours = of ? SIGNED : state.colours, scale = of && state.scale !== "Each" ? "Symmetric" : state.scale;
      choices.head.set(heads > 1 ? [["", text("allHeads")], ...range(heads).map((at) => [at, text("head", { at })])] : [], head ?? "");
      choices.colours.set(Object.keys(TABLES).map((name) => [name, name]), colours);
      choices.scale.set(SCALES.map((name) => [name, text(`scale${name}`)]), scale);
      choices.colours.select.disabled = !!of;
      const side = shown.length > 1 && state.mode === "Side" ? 2.05 : 1, tokens = map.axes.length > 3 && map.axes[1] === "token";
      const matrix = tokens && each(map) <= 40 && side === 1, labelled = matrix && whole, bounds = this.bounds(labelled, side);
      let grid = gridOf(all, planes, bounds, matrix ? each(map) : 0), part = Math.min(state.part, grid.parts - 1);
      choices.part.set(range(grid.parts).map((at) => [at, `${at + 1} / ${grid.parts}`]), part);
      let first = from + part * grid.count;
      grid.count = Math.min(grid.count, from + all - first);
      const limits = limitsOf(shown.map((one) => one.planes), scale, first, grid.count);
      if (!whole) [first, grid] = [clamp(state.cell, from, from + all - 1), gridOf(1, planes, bounds, 1)];
      const sheets = shown.map((one) => () => this.painter.paint(one.planes, grid, first, limits, TABLES[colours])), size = sizeOf(planes, grid);
      const second = composed(this.canvas, size, sheets, state.mode, state.border), single = size[0];
      Object.assign(this, { grid, first, from, all, second, single, at: clamp(this.at, 0, grid.count - 1) });
      this.fit(side * bounds.width, bounds.height);
      this.columns.hidden = this.rows.hidden = !labelled;
      if (labelled) this.label(map, grid, head ?? 0);
      const ends = limits || (grid.count === 1 ? [planes.low[first], planes.high[first]] : null);
      fillBar(this.bar, TABLES[colours], ends ? ends.map(short) : [text("low"), text("high")]);
      this.zoom.textContent = text(whole ? "enlarge" : "back");
      for (const turn of this.turns) turn.hidden = whole;
      this.moveCursor();
      this.leave();
      const what = whole ? text("pictures", { count: all, height: planes.height, width: planes.width }) : planeText(map, first);
      this.space.say(joined(this.name(), what, runs.length > 1 && shown.map((one) => one.name).join(" / ")));
    }
    name() { return joined(this.space.state.block, mapText(this.map), stepText(this.map)); }
    /* What room there is: as high as its section where the page is one screen. */
    measured() {
      const { clientWidth, clientHeight } = this.box, high = Math.round(Math.min(clientWidth, 0.85 * innerHeight));
      return `${clientWidth} ${matchMedia(ONE_SCREEN).matches ? clientHeight : high}`;
    }
    /* The same for one sheet without its labels. */
    bounds(labelled, side) {
      const [wide, high] = (this.room = this.measured()).split(" ").map(Number);
      return { width: Math.max(60, (wide - (labelled ? 26 : 2)) / side), height: Math.max(120, high - (labelled ? 62 : 2)) };
    }
    fit(wide, high) {
      const { canvas } = this, scale = Math.min(wide / canvas.width, high / canvas.height);
      const [width, height] = [canvas.width, canvas.height].map((pixels) => `${Math.floor(scale * pixels)}px`);
      Object.assign(canvas.style, { width, height, imageRendering: scale * devicePixelRatio >= 1 ? "pixelated" : "auto" });
    }
    /* Tokens over the columns and heads beside the rows. */
    label(map, { columns, rows }, head) {
      const { words, state } = this.space, chosen = state.word == null ? [] : words[state.word].first.tokens, { width } = this.canvas.style;
      this.columns.classList.toggle("uv-upright", parseFloat(width) / columns < 44);
      this.columns.style.width = width;
      this.columns.replaceChildren(...range(columns).map((at) => {
        const token = map.tokens ? map.tokens[at] : at, label = (map.labels && map.labels[at]) || String(token);
        return element("span", { title: label, class: chosen.includes(token) && "uv-chosen" }, label);
      }));
      this.rows.replaceChildren(...range(rows, head).map((at) => element("span", {}, at)));
    }
    /* {cell, plane, x, y} under a pointer; null between pictures. */
    under({ clientX, clientY }) {
      if (!this.shown) return null;
      const { left, top, width, height } = this.canvas.getBoundingClientRect(), { columns, count, zoom } = this.grid;
      const across = Math.floor(((clientX - left) / width) * this.canvas.width), y = Math.floor(((clientY - top) / height) * this.canvas.height);
      const x = this.second && across >= this.second ? across - this.second : across, { planes } = this.shown[0];
      const [wide, high] = pitchOf(planes, this.grid), cell = Math.floor(y / high) * columns + Math.floor(x / wide);
      const place = { x: Math.floor((x % wide) / zoom), y: Math.floor((y % high) / zoom) };
      if (x < 0 || y < 0 || x >= this.single || place.x >= planes.width || place.y >= planes.height || cell >= count) return null;
      return { cell, plane: this.first + cell, ...place };
    }
    hover(event) {
      this.space.drag(event, this.canvas);
      const at = this.under(event);
      if (!at) return;
      const values = [...this.shown, ...(this.shown[0].of || [])].map(({ name, planes }) => {
        const value = valueOf(planes, at.plane, planes.levels[(at.plane * planes.height + at.y) * planes.width + at.x]);
        return `${this.space.runs.length > 1 ? `${name}: ` : ""}${Number.isNaN(value) ? text("notFinite") : short(value)}`;
      });
      this.line.textContent = joined(planeText(this.map, at.plane), placeText(this.map, at.y, at.x), ...values);
    }
    leave() {
      const name = this.space.state.cell == null ? text("hover") : planeText(this.map, this.first);
      this.line.textContent = joined(this.lone, stepText(this.map), name);
    }
    click(event) {
      const at = this.under(event), whole = this.space.state.cell == null;
      if (!at || this.space.dragged) return;
      if (whole) this.at = at.cell;
      this.space.set({ cell: whole ? at.plane : null });
    }
    toggle() { if (this.shown) this.space.set({ cell: this.space.state.cell == null ? this.first + this.at : null }); }
    turnCell(by) {
      this.at = (this.first - this.from + by + this.all) % this.all;
      this.space.set({ cell: this.from + this.at });
    }
    key(event) {
      const { columns, count } = this.grid || {}, moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -count, End: count };
      if (event.ctrlKey || event.metaKey || event.altKey || !this.shown || !(event.key in moves || event.key === "Enter")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") return this.toggle();
      if (this.space.state.cell != null) return this.turnCell(Math.sign(moves[event.key]));
      this.at = clamp(this.at + moves[event.key], 0, count - 1);
      this.moveCursor();
      this.space.say((this.line.textContent = planeText(this.map, this.first + this.at)));
    }
    /* Frame the picture that the keyboard is at. */
    moveCursor() {
      const { columns, rows } = this.grid, wide = (100 * this.single) / this.canvas.width / columns, high = 100 / rows;
      const [column, row] = [this.at % columns, Math.floor(this.at / columns)];
      const place = { left: column * wide, top: row * high, width: wide, height: high };
      for (const [name, value] of Object.entries(place)) this.cursor.style[name] = `${value}%`;
      filled(this.cursor, { "aria-label": planeText(this.map, this.first + this.at), "aria-colindex": column + 1, "aria-rowindex": row + 1 });
      filled(this.frame, { "aria-label": this.name(), "aria-colcount": columns, "aria-rowcount": rows });
    }
    /* A file of what is shown. */
    save(blob, suffix) {
      const { block, layer, attention, kind, step } = this.map, { head, cell } = this.space.state, named = (name, at) => at != null && name + at;
      const parts = [block, layer, attention, kind, step == null ? "mean" : named("step", step), named("head", head), named("picture", cell)];
      const name = parts.filter((part) => part != null && part !== false).join("-") + suffix, href = URL.createObjectURL(blob);
      element("a", { href, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    }
    png() { this.canvas.toBlob((blob) => this.save(blob, ".png")); }
    /* [name, values, shape] of each run that is shown: all of the map, of a head, or one picture. */
    saved() {
      const whole = this.space.state.cell == null, { shape } = this.map, [first, count] = whole ? [this.from, this.all] : [this.first, 1];
      return this.shown.map(({ name, planes }) => [this.space.runs.length > 1 ? `-${name.replace(" − ", "-minus-")}` : "",
        valuesOf(planes, first, count), !whole ? shape.slice(-2) : count === planes.count ? shape : shape.slice(1), first]);
    }
    npy() { this.saved().forEach(([name, values, shape]) => this.save(npyOf(values, shape), `${name}.npy`)); }
    /* A line for each row of each picture. */
    csv() {
      const [row, column] = this.map.axes.slice(-2), [height, width] = this.map.shape.slice(-2);
      const quoted = (value) => `"${value.replaceAll('"', '""')}"`, head = ["picture", row, ...range(width).map((at) => `${column} ${at}`)];
      for (const [name, values, , first] of this.saved()) {
        const lines = range(values.length / width).map((at) =>
          [quoted(planeText(this.map, first + Math.floor(at / height))), at % height, ...values.subarray(at * width, (at + 1) * width)]);
        this.save(new Blob([[head, ...lines].join("\n"), "\n"], { type: "text/csv" }), `${name}.csv`);
      }
    }
  }

  /* The steps, and the strength of the words along them. */
  class TimeLine {
    constructor(space) {
      const last = Math.max(0, space.steps.length - 1), label = { "aria-label": text("time") };
      Object.assign(this, { space, said: element("output"), caption: element("span", { class: "uv-quiet" }) });
      this.slider = element("input", { type: "range", max: last, ...label, oninput: () => space.set({ step: Number(this.slider.value) }) });
      this.play = button(text("play"), () => space.play(), { class: "uv-play" });
      this.chart = drawn("svg", { class: "uv-chart", viewBox: "0 0 1000 60", preserveAspectRatio: "none", "aria-hidden": true, onclick: (event) => {
        const { left, width } = this.chart.getBoundingClientRect();
        space.set({ step: clamp(Math.round(((event.clientX - left) / width) * last), 0, last) });
      } });
      this.whole = section("time", box("row", this.play, this.said, this.caption), box("track", this.chart, this.slider));
    }
    update() {
      const { state, steps, words, main, timer } = this.space, step = steps[state.step], one = steps.length < 2;
      const sigma = step && known(step.sigma) && text("sigma", { sigma: short(step.sigma) });
      this.slider.value = state.step;
      this.said.textContent = step ? joined(text("step", { step: step.step }), sigma) : text("noSteps");
      this.slider.setAttribute("aria-valuetext", this.said.textContent);
      this.play.textContent = text(timer ? "pause" : "play");
      const curves = words.map(({ of, first }) => steps.map(({ step }) => this.space.byStep((of[main] || first).by_step, step, of[main] ? main : of.indexOf(first))));
      const most = Math.max(...curves.flat().filter(known), 1e-12), there = !one && curves.flat().some(known);
      const across = (at) => (1000 * at) / (steps.length - 1), x = one ? 0 : across(state.step);
      const curve = (values, name) => drawn("polyline", { class: name, points: values.map((value, at) => (known(value) ? `${across(at)},${56 - (52 * value) / most}` : "")).join(" ") });
      const now = drawn("line", { class: "uv-now", x1: x, x2: x, y1: 0, y2: 60 }), own = curves[state.word];
      this.chart.replaceChildren(...(there ? curves.map((values) => curve(values, "uv-other")) : []), now, ...(there && own ? [curve(own, "uv-curve")] : []));
      this.chart.style.display = there ? "" : "none";
      this.slider.hidden = this.play.hidden = one;
      this.caption.textContent = !there ? "" : own ? `${text("curve", { word: words[state.word].first.text })}: ${short(own[state.step])}` : text("curves");
    }
  }

  // The whole -------------------------------------------------------------------------------------------
  const ONE_SCREEN = "(min-width: 1100px) and (min-height: 640px)";

  class Workspace {
    constructor(root, runs, numbers) {
      const steps = new Map(runs.flatMap((run) => run.steps).map((step) => [step.step, step])), maps = runs.flatMap((run) => run.maps);
      Object.assign(this, { runs, numbers, blocks: runs[0].blocks, words: wordsOf(runs), timer: null, dragged: false });
      this.steps = [...steps.values()].sort((a, b) => a.step - b.step);
      const held = this.steps.map(({ step }) => maps.some((map) => map.step === step));
      this.state = { mode: runs.length > 1 ? "Side" : "A", word: null, step: Math.max(0, held.lastIndexOf(true)), block: null, kind: null,
        head: null, cell: null, part: 0, measure: "norm", byHand: false, colours: "viridis", scale: "Sheet", border: 0.5 };
      const there = this.blocks.map(({ name }) => name).filter((name) => this.mapsOf(name).length), [block] = [...this.blocks, {}];
      this.state.block = there.includes("OUT08") ? "OUT08" : there.at(-1) || block.name || (maps[0] || {}).block || null;
      this.status = element("p", { class: "uv-hidden", role: "status", "aria-live": "polite" });
      this.help = this.dialog();
      [this.unet, this.sheet] = [new UNetMap(this), new Sheet(this)];
      this.views = [new Header(this), new Picture(this), this.unet, this.sheet, new TimeLine(this)];
      const [header, ...parts] = this.views.map((view) => view.whole);
      root.replaceChildren(header, element("main", { class: runs.length > 1 && "uv-two" }, ...parts), this.status, this.help);
      document.addEventListener("keydown", (event) => this.key(event));
      this.set({});
    }
    /* Which run is looked at where one can be. */
    get main() { return this.state.mode === "B" && this.runs.length > 1 ? 1 : 0; }
    dialog() {
      const keys = text("keys").split("|"), item = (at) => [element("dt", {}, element("kbd", {}, keys[at])), element("dd", {}, keys[at + 1])];
      const dialog = element("dialog", { "aria-label": text("help"), onclick: (event) => event.target === dialog && dialog.close() },
        element("h2", {}, text("help")), element("dl", {}, ...range(keys.length / 2).flatMap((at) => item(2 * at))), button(text("close"), () => dialog.close()));
      return dialog;
    }
    set(changes) {
      const state = Object.assign(this.state, changes);
      const usual = state.word != null ? "word" : state.mode === "Difference" ? "change" : "norm";
      if (!state.byHand && ("word" in changes || "mode" in changes)) state.measure = usual;
      for (const view of this.views) view.update();
    }
    say(what) { this.status.textContent = what; }
    choose(block) { this.set({ block, cell: null, part: 0 }); }
    byStep(values, step, run) { return (values || [])[this.runs[run].steps.findIndex((each) => each.step === step)]; }
    /* Maps of a block at the chosen step, or where there are none their means over steps, one of a kind. */
    mapsOf(block, runs = this.main ? [...this.runs].reverse() : this.runs) {
      const step = this.steps[this.state.step], found = new Map();
      for (const wanted of [step && step.step, null]) {
        const maps = runs.flatMap((run) => run.maps).filter((map) => map.block === block && map.step === wanted);
        for (const map of maps) if (!found.has(kindOf(map))) found.set(kindOf(map), map);
      }
      return [...found.values()];
    }
    /* What blocks can be coloured by: {key, label, at(block): [value, whether it is a mean over steps], all}. */
    measures() {
      const { main, state, runs, words } = this, now = (this.steps[state.step] || {}).step, found = [];
      const add = (key, label, at) => {
        const all = this.blocks.flatMap(({ name }) => [...this.steps.map(({ step }) => step), null].map((step) => at(name, step)[0])).filter(known);
        if (all.length) found.push({ key, label, all, at: (block) => at(block, now) });
      };
      const of = (run, pick) => (block, step) => {
        const value = this.byStep((pick(runs[run].measures) || {})[block], step, run);
        return known(value) ? [value, false] : [(pick(runs[run].means) || {})[block], true];
      };
      const changed = runs.findIndex((run) => run.measures.change || run.means.change), word = words[state.word];
      add("norm", text("norm"), of(main, (table) => table.norm));
      add("words", text("attended"), of(main, (table) => table.words));
      if (word) {
        const run = word.of[main] ? main : word.of.indexOf(word.first), at = runs[run].words.indexOf(word.of[run]);
        add("word", text("word", { word: word.first.text }), of(run, (table) => (table.word || [])[at]));
      }
      if (changed >= 0) add("change", text("change"), of(changed, (table) => table.change));
      else if (runs.length > 1) {
        const [a, b] = [0, 1].map((run) => of(run, (table) => table.norm));
        add("change", text("ownChange"), (block, step) => [Math.abs(b(block, step)[0] / a(block, step)[0] - 1), a(block, step)[1]]);
      }
      return found;
    }
    theme() {
      const { dataset } = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      dataset.theme = (dataset.theme || dark) === "dark" ? "light" : "dark";
    }
    /* Move the border of a swipe with a pressed pointer. */
    drag(event, canvas) {
      const { left, width } = canvas.getBoundingClientRect();
      this.dragged = event.type !== "pointerdown" && (this.dragged || (event.buttons > 0 && this.state.mode === "Swipe"));
      if (this.dragged && event.buttons) this.set({ border: clamp((event.clientX - left) / width, 0, 1) });
    }
    /* Go through the steps, again and again, until pressed again. */
    play() {
      const on = () => this.set({ step: (this.state.step + 1) % this.steps.length });
      this.timer = this.timer ? clearInterval(this.timer) : this.steps.length > 1 && setInterval(on, 500);
      this.set({});
    }
    key(event) {
      const { state, runs, sheet } = this, names = this.blocks.map(({ name }) => name), maps = this.mapsOf(state.block);
      if (event.ctrlKey || event.metaKey || event.altKey || this.help.open || event.target.matches("select")) return;
      if (event.target.matches(event.key === " " ? "button, summary" : event.key.startsWith("Arrow") ? "input" : "none")) return;
      const step = (by) => this.set({ step: clamp(state.step + by, 0, Math.max(0, this.steps.length - 1)) });
      const turn = (by) => {
        if (names.length) this.choose(next(names, state.block, by));
        if (document.activeElement.closest("svg")) this.unet.groups.get(state.block).focus();
      };
      const heads = sheet.shown && sheet.map.axes[0] === "head" ? sheet.map.shape[0] : 0, two = runs.length > 1;
      const act = {
        ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => turn(-1), ArrowDown: () => turn(1),
        w: () => this.set({ word: next([null, ...this.words.keys()], state.word) }),
        h: () => heads > 1 && sheet.chosen("head", next(["", ...range(heads)], state.head ?? "")),
        m: () => maps.length && sheet.chosen("kind", kindOf(next(maps, sheet.map))),
        c: () => this.set({ colours: next(Object.keys(TABLES), state.colours) }), n: () => this.set({ scale: next(SCALES, state.scale) }),
        d: () => (two ? this.set({ mode: state.mode === "Difference" ? "Side" : "Difference" }) : this.say((sheet.line.textContent = text("oneRun")))),
        z: () => sheet.toggle(), " ": () => this.play(), "?": () => this.help.showModal(), Escape: () => this.set({ cell: null }),
      }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    }
  }

  /* The words of the runs, the first run's before those that the second alone holds: {first, of: [of each run, or nothing]}. */
  function wordsOf(runs) {
    const all = runs.flatMap((run, at) => run.words.filter(({ text }) => !at || !runs[0].words.some((word) => word.text === text)));
    return all.map((first) => ({ first, of: runs.map(({ words }) => (words.includes(first) ? first : words.find(({ text }) => text === first.text))) }));
  }

  /* A run with everything that the manifest may leave out. */
  function completed(run, at) {
    const lists = ["notes", "steps", "blocks", "words", "maps"].map((name) => [name, Array.isArray(run[name]) ? run[name] : []]);
    const { measures, means, name } = run, found = Object.fromEntries(lists);
    found.maps = found.maps.filter((map) => map.values && Array.isArray(map.shape) && Array.isArray(map.axes));
    return { ...run, name: name || "AB"[at], measures: measures || {}, means: means || {}, ...found };
  }

  /* Draw the workspace, or say why it cannot be drawn. */
  function start() {
    const root = document.getElementById("uv-workspace");
    document.documentElement.lang = LANGUAGE;
    try {
      const manifest = JSON.parse(read("uv-manifest"));
      if (manifest.format !== 1) throw new Error(text("format", { format: manifest.format }));
      const runs = (Array.isArray(manifest.runs) ? manifest.runs : []).slice(0, 2).map(completed);
      if (!runs.length) throw new Error(text("noRun"));
      window.uvWorkspace = new Workspace(root, runs, new Numbers(read("uv-numbers")));
    } catch (error) {
      root.replaceChildren(element("p", { class: "uv-problem", role: "alert" }, text("broken", { why: error.message })));
      document.documentElement.dataset.ready = "";
    }
  }
  start();
})();
