/* The workspace: a run of a diffusion U-Net, or two to compare, drawn from the numbers in this page.

   docs/explore.md says what the manifest holds. A map's values are 8 bit over each picture's own range: value =
   low + (high - low) * level / 254, and level 255 is not finite. Nothing is ever requested from elsewhere. */
"use strict";
(() => {
  const TEXTS = {
    en: {
      picture: "Picture", words: "Words", wordsHint: "Choose a word to see where it acted.", unet: "U-Net",
      sheet: "Sheet", steps: "Steps", help: "Keys", theme: "Light or dark", close: "Close", notes: "Notes",
      measure: "Colour by", norm: "Activation norm", wordsAct: "Attention to words", word: "Attention to “{word}”",
      change: "Change from A to B", ownNorm: "Change of norm from A to B", map: "Map", colours: "Colours",
      scale: "Scale", scaleEach: "Each picture", scaleSheet: "Whole sheet", scalePercentile: "1 % to 99 %",
      scaleSymmetric: "Around 0", compare: "Compare", modeA: "A", modeB: "B", modeSide: "Side by side",
      modeSwipe: "Swipe", modeDifference: "Difference", swipe: "Border between A and B",
      features: "Features", attention: "{kind}-attention {what}, layer {layer}", cross: "Cross", self: "Self",
      mean: "mean over steps", step: "Step {step}", sigma: "noise level {sigma}", play: "Play", pause: "Pause",
      savePng: "Save as PNG", saveNpy: "Save as .npy", back: "Back to the sheet", previous: "Previous",
      next: "Next", heads: "Head", allHeads: "All heads", head: "head {at}", token: "token “{text}”",
      tokenAt: "token {at}", channel: "channel {at}", place: "x {x}, y {y}", value: "value {value}",
      notFinite: "not finite", part: "Part", strength: "strength {value}", noStrength: "strength not known",
      noPicture: "This run holds no picture.", noWords: "No words are known of this run.",
      noMaps: "The file holds no maps of {block} at this step.", noFeatures: "This run holds no maps.",
      noBlocks: "This run does not say which blocks the U-Net has.", noOther: "The other run has no such map.",
      broken: "This page cannot be read: {why}", format: "its format is {format}, and this script reads 1",
      prompt: "Prompt", negative: "Negative prompt", seed: "seed {seed}", difference: "B − A",
      channels: "{count} channels", noMeasure: "not recorded", hasMaps: "has maps", strengthBySteps: "Strength of “{word}”",
      gridHelp: "Arrow keys move in the sheet, Enter enlarges a picture.", low: "low", high: "high",
      hover: "Point at the sheet to read its values; click to enlarge a picture.",
      keys: "← → step|↑ ↓ block|W next word|H next head|M next map|D difference of two runs|C next way to compare|" +
        "Z enlarge a picture, and back|Space play the steps|? these keys|Esc close",
    },
    ja: {
      picture: "画像", words: "単語", wordsHint: "単語を選ぶと、効いた場所が見えます。", unet: "U-Net",
      sheet: "シート", steps: "ステップ", help: "キー操作", theme: "明暗", close: "閉じる", notes: "注記",
      measure: "色の意味", norm: "活性のノルム", wordsAct: "単語への注意", word: "「{word}」への注意",
      change: "A から B への変化", ownNorm: "ノルムの A から B への変化", map: "マップ", colours: "配色",
      scale: "尺度", scaleEach: "各画像ごと", scaleSheet: "シート全体", scalePercentile: "1 % ～ 99 %",
      scaleSymmetric: "0 を中心", compare: "比較", modeA: "A", modeB: "B", modeSide: "並べる",
      modeSwipe: "スワイプ", modeDifference: "差分", swipe: "A と B の境界",
      features: "特徴量", attention: "{kind}アテンション {what}、層 {layer}", cross: "クロス", self: "セルフ",
      mean: "ステップ平均", step: "ステップ {step}", sigma: "ノイズ量 {sigma}", play: "再生", pause: "停止",
      savePng: "PNG で保存", saveNpy: ".npy で保存", back: "シートに戻る", previous: "前へ",
      next: "次へ", heads: "ヘッド", allHeads: "全ヘッド", head: "ヘッド {at}", token: "トークン「{text}」",
      tokenAt: "トークン {at}", channel: "チャンネル {at}", place: "x {x}, y {y}", value: "値 {value}",
      notFinite: "有限でない値", part: "部分", strength: "強さ {value}", noStrength: "強さは不明",
      noPicture: "この実行には画像がありません。", noWords: "この実行の単語は分かりません。",
      noMaps: "このステップの {block} のマップはありません。", noFeatures: "この実行にはマップがありません。",
      noBlocks: "この実行には U-Net のブロックの記録がありません。", noOther: "もう一方の実行に同じマップがありません。",
      broken: "このページを読めません: {why}", format: "形式は {format} ですが、読めるのは 1 です",
      prompt: "プロンプト", negative: "ネガティブプロンプト", seed: "シード {seed}", difference: "B − A",
      channels: "{count} チャンネル", noMeasure: "記録なし", hasMaps: "マップあり", strengthBySteps: "「{word}」の強さ",
      gridHelp: "矢印キーでシート内を移動し、Enter で拡大します。", low: "低", high: "高",
      hover: "シートを指すと値を、クリックすると拡大を表示します。",
      keys: "← → ステップ|↑ ↓ ブロック|W 次の単語|H 次のヘッド|M 次のマップ|D 二つの実行の差分|C 次の比べ方|" +
        "Z 拡大と戻る|Space ステップの再生|? このキー一覧|Esc 閉じる",
    },
  };
  const LANGUAGE = (navigator.language || "en").toLowerCase().startsWith("ja") ? "ja" : "en";

  /* The text of that name, with its {places} filled. */
  function text(name, values = {}) {
    return TEXTS[LANGUAGE][name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
  }

  const SVG = "http://www.w3.org/2000/svg";
  const element = (tag, given, ...children) => filled(document.createElement(tag), given, children);
  const drawn = (tag, given, ...children) => filled(document.createElementNS(SVG, tag), given, children);

  function filled(node, given, children) {
    for (const [name, value] of Object.entries(given || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const shortened = (value) => (value == null || !Number.isFinite(value) ? "–" : String(Number(value.toPrecision(3))));

  // Numbers ---------------------------------------------------------------------------------------------

  /* The bytes that the manifest refers to; maps are inflated when they are first looked at. */
  class Numbers {
    constructor(base64) {
      const packed = atob(base64.trim());
      this.bytes = new Uint8Array(packed.length);
      for (let at = 0; at < packed.length; at++) this.bytes[at] = packed.charCodeAt(at);
      this.found = new Map();
    }

    part(reference) {
      return this.bytes.subarray(reference.at, reference.at + reference.bytes);
    }

    /* {count, height, width, low, high, levels} of a map. */
    planes(reference) {
      if (!this.found.has(reference)) {
        this.found.set(reference, this.inflated(reference));
        if (this.found.size > MOST_MAPS) this.found.delete(this.found.keys().next().value);
      }
      return this.found.get(reference);
    }

    async inflated(reference) {
      const stream = new Blob([this.part(reference)]).stream().pipeThrough(new DecompressionStream("deflate"));
      const buffer = await new Response(stream).arrayBuffer();
      const count = reference.planes;
      const [height, width] = reference.shape;
      return {
        count, height, width,
        low: new Float32Array(buffer, 0, count),
        high: new Float32Array(buffer, 4 * count, count),
        levels: new Uint8Array(buffer, 8 * count, count * height * width),
      };
    }
  }
  const MOST_MAPS = 64; // that stay inflated
  const NOT_FINITE = 255, LEVELS = 254;

  function valueAt(planes, plane, y, x) {
    const level = planes.levels[(plane * planes.height + y) * planes.width + x];
    if (level === NOT_FINITE) return NaN;
    return planes.low[plane] + ((planes.high[plane] - planes.low[plane]) * level) / LEVELS;
  }

  /* B - A of two maps of one shape, as planes of their own. */
  function differenceOf(a, b) {
    const size = a.height * a.width;
    const found = { ...a, low: new Float32Array(a.count), high: new Float32Array(a.count), levels: new Uint8Array(a.levels.length) };
    const values = new Float32Array(size);
    for (let plane = 0; plane < a.count; plane++) {
      const spanA = (a.high[plane] - a.low[plane]) / LEVELS, spanB = (b.high[plane] - b.low[plane]) / LEVELS;
      let low = Infinity, high = -Infinity;
      for (let at = 0; at < size; at++) {
        const levelA = a.levels[plane * size + at], levelB = b.levels[plane * size + at];
        const value = levelA === NOT_FINITE || levelB === NOT_FINITE ? NaN : b.low[plane] + spanB * levelB - a.low[plane] - spanA * levelA;
        values[at] = value;
        if (value < low) low = value;
        if (value > high) high = value;
      }
      if (low > high) low = high = 0;
      found.low[plane] = low;
      found.high[plane] = high;
      const scale = high > low ? LEVELS / (high - low) : 0;
      for (let at = 0; at < size; at++) {
        found.levels[plane * size + at] = Number.isNaN(values[at]) ? NOT_FINITE : Math.round((values[at] - low) * scale);
      }
    }
    return found;
  }

  /* How many values have each level, by plane: (count, 256). */
  function histogram(planes) {
    if (planes.histogram) return planes.histogram;
    const size = planes.height * planes.width;
    const found = new Uint32Array(planes.count * 256);
    for (let plane = 0; plane < planes.count; plane++) {
      for (let at = plane * size; at < (plane + 1) * size; at++) found[plane * 256 + planes.levels[at]]++;
    }
    return (planes.histogram = found);
  }

  // Colours ---------------------------------------------------------------------------------------------

  const ANCHORS = {
    viridis: "440154 482878 3e4a89 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
    inferno: "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4",
    plasma: "0d0887 4c02a1 7e03a8 aa2395 cc4778 e66c5c f89540 fdc527 f0f921",
    grey: "000000 ffffff",
    "blue–white–red": "2166ac 67a9cf d1e5f0 f7f7f7 fddbc7 ef8a62 b2182b",
  };
  const SIGNED = "blue–white–red";
  const TABLES = Object.fromEntries(Object.entries(ANCHORS).map(([name, anchors]) => [name, tableOf(anchors)]));
  const NO_VALUE = [255, 0, 255];

  /* 256 colours [r, g, b] between the anchors. */
  function tableOf(anchors) {
    const known = anchors.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    return Array.from({ length: 256 }, (_, at) => {
      const place = (at / 255) * (known.length - 1);
      const from = Math.min(known.length - 2, Math.floor(place));
      return known[from].map((value, part) => Math.round(value + (known[from + 1][part] - value) * (place - from)));
    });
  }

  const cssColour = (colour) => `rgb(${colour.join(" ")})`;
  /* Black or white, whichever is easier to read on the colour. */
  function inkOn(colour) {
    const [red, green, blue] = colour.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
  }

  /* [low, high] of each plane by the way of scaling; `shown` are the planes that count. */
  function ranges(planes, scale, shown) {
    if (scale === "Each") return (plane) => [planes.low[plane], planes.high[plane]];
    let low = Math.min(...shown.map((plane) => planes.low[plane]));
    let high = Math.max(...shown.map((plane) => planes.high[plane]));
    if (scale === "Percentile") [low, high] = percentiles(planes, shown, low, high);
    if (scale === "Symmetric") [low, high] = [-Math.max(-low, high, 0), Math.max(-low, high, 0)];
    return () => [low, high];
  }

  /* The values that 1 % and 99 % of the values lie below, to a 2048th of their range. */
  function percentiles(planes, shown, low, high) {
    const bins = new Float64Array(2048), counts = histogram(planes);
    let total = 0;
    for (const plane of shown) {
      const span = (planes.high[plane] - planes.low[plane]) / LEVELS;
      for (let level = 0; level <= LEVELS; level++) {
        const count = counts[plane * 256 + level];
        const place = ((planes.low[plane] + span * level - low) / (high - low || 1)) * 2047;
        bins[Math.round(clamp(place, 0, 2047))] += count;
        total += count;
      }
    }
    const reached = (share) => {
      let sum = 0;
      for (let bin = 0; bin < bins.length; bin++) if ((sum += bins[bin]) >= share * total) return bin;
      return bins.length - 1;
    };
    const value = (bin) => low + ((high - low) * bin) / 2047;
    return [value(reached(0.01)), value(reached(0.99))];
  }

  /* For each level of a plane its colour, as a canvas holds it. */
  function coloursOf(planes, plane, [low, high], table) {
    const found = new Uint32Array(256);
    const span = (planes.high[plane] - planes.low[plane]) / LEVELS;
    const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    for (let level = 0; level <= LEVELS; level++) {
      const share = high > low ? (planes.low[plane] + span * level - low) / (high - low) : 0.5;
      found[level] = packed(table[Math.round(clamp(share, 0, 1) * 255)]);
    }
    found[NOT_FINITE] = packed(NO_VALUE);
    return found;
  }

  // Sheets ----------------------------------------------------------------------------------------------

  const GAP = 1; // pixels between pictures of a sheet
  const LONGEST = 8192; // of a canvas's sides

  /* {planes, columns, rows, parts}: which planes stand where; `parts` is how many sheets there would be. */
  function gridOf(map, planes, head, part) {
    const others = map.axes.slice(0, -2), lengths = map.shape.slice(0, -2);
    const byRow = lengths.length === 2 && lengths[1] <= 40;
    const heads = others[0] === "head" && head != null ? [head] : [...Array(lengths[0] || 1).keys()];
    const each = lengths[1] || 1;
    const all = heads.flatMap((at) => [...Array(each).keys()].map((other) => at * each + other));
    const square = Math.ceil(Math.sqrt((all.length * planes.height) / planes.width));
    const most = Math.max(1, Math.floor(LONGEST / (planes.width + GAP)));
    const columns = Math.min(byRow ? each : Math.max(1, square), most);
    const rows = Math.max(1, Math.floor(LONGEST / (planes.height + GAP)));
    const parts = Math.ceil(all.length / (columns * rows));
    const shown = all.slice(part * columns * rows, (part + 1) * columns * rows);
    return { planes: shown, columns, rows: Math.ceil(shown.length / columns), parts, byRow };
  }

  /* The sheet on a canvas of its own, a pixel for each value. */
  function painted(planes, grid, range, table) {
    const { height, width } = planes;
    const canvas = element("canvas", { width: grid.columns * (width + GAP) - GAP, height: grid.rows * (height + GAP) - GAP });
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    grid.planes.forEach((plane, cell) => {
      const colours = coloursOf(planes, plane, range(plane), table);
      const left = (cell % grid.columns) * (width + GAP), top = Math.floor(cell / grid.columns) * (height + GAP);
      let from = plane * height * width;
      for (let y = 0; y < height; y++) {
        let to = (top + y) * canvas.width + left;
        for (let x = 0; x < width; x++) pixels[to++] = colours[planes.levels[from++]];
      }
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /* Two canvases as one: the first up to a share of its width, the second from there on. */
  function swiped(a, b, share) {
    const canvas = element("canvas", { width: a.width, height: a.height });
    const context = canvas.getContext("2d"), border = Math.round(share * a.width);
    context.drawImage(a, 0, 0);
    context.clearRect(border, 0, a.width - border, a.height);
    context.save();
    context.beginPath();
    context.rect(border, 0, a.width - border, a.height);
    context.clip();
    context.drawImage(b, 0, 0, a.width, a.height);
    context.restore();
    context.fillStyle = "#e11d48";
    context.fillRect(border - 1, 0, Math.max(1, a.width / 300), a.height);
    return canvas;
  }

  function beside(a, b) {
    const gap = Math.ceil(a.width / 50);
    const canvas = element("canvas", { width: 2 * a.width + gap, height: a.height });
    const context = canvas.getContext("2d");
    context.drawImage(a, 0, 0);
    context.drawImage(b, a.width + gap, 0, a.width, a.height);
    return { canvas, second: a.width + gap };
  }

  /* Which picture of a map that is: "head 3, token “cat”". */
  function nameOf(map, plane) {
    const others = map.axes.slice(0, -2), lengths = map.shape.slice(0, -2);
    const places = lengths.length === 2 ? [Math.floor(plane / lengths[1]), plane % lengths[1]] : [plane];
    return others.map((axis, at) => axisText(map, axis, places[at])).join(", ");
  }

  function axisText(map, axis, at) {
    if (axis !== "token") return text(axis, { at });
    if (map.labels && map.labels[at]) return text("token", { text: map.labels[at] });
    return text("tokenAt", { at: map.tokens ? map.tokens[at] : at });
  }

  const sameKind = (a, b) => a.kind === b.kind && a.attention === b.attention && a.layer === b.layer;

  function mapText(map) {
    const what = map.kind === "features" ? text("features") : text("attention", { kind: text(map.attention), what: map.kind, layer: map.layer });
    return map.step == null ? `${what} (${text("mean")})` : what;
  }

  /* A file in numpy's own format with the map's values as float32. */
  function npyOf(map, planes) {
    const shape = `(${map.shape.join(", ")}${map.shape.length === 1 ? "," : ""})`;
    let head = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
    head += " ".repeat(63 - ((10 + head.length) % 64)) + "\n";
    const values = new Float32Array(planes.levels.length), size = planes.height * planes.width;
    for (let at = 0; at < values.length; at++) {
      const plane = Math.floor(at / size), level = planes.levels[at];
      values[at] = level === NOT_FINITE ? NaN : planes.low[plane] + ((planes.high[plane] - planes.low[plane]) * level) / LEVELS;
    }
    const start = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
    return new Blob([start, head, values]);
  }

  function download(blob, name) {
    const link = element("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // Parts of the page -----------------------------------------------------------------------------------

  const MODES = ["A", "B", "Side", "Swipe", "Difference"];
  const SCALES = ["Each", "Sheet", "Percentile", "Symmetric"];

  function button(label, act, given = {}) {
    return element("button", { type: "button", onclick: act, ...given }, label);
  }

  /* A labelled choice; `set` fills it anew and keeps what can be kept. */
  function choice(label, id, changed) {
    const select = element("select", { id, onchange: () => changed(select.value) });
    const whole = element("label", { class: "uv-choice" }, element("span", {}, label), select);
    const set = (options, value) => {
      const wanted = JSON.stringify(options);
      if (select.dataset.options !== wanted) {
        select.replaceChildren(...options.map(([key, shown]) => element("option", { value: key }, shown)));
        select.dataset.options = wanted;
      }
      select.value = value;
      whole.hidden = options.length < 2;
    };
    return { whole, select, set };
  }

  /* The picture with a word's heat over it, and the words. */
  class Pictures {
    constructor(space) {
      this.space = space;
      this.canvas = element("canvas", { class: "uv-picture", role: "img" });
      this.canvas.addEventListener("pointermove", (event) => this.drag(event));
      this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
      this.said = element("p", { class: "uv-line" });
      this.bar = element("div", { class: "uv-bar" });
      this.words = element("div", { class: "uv-words", role: "group", "aria-label": text("words") });
      this.hint = element("p", { class: "uv-hint" }, text("wordsHint"));
      this.whole = element("section", { class: "uv-pictures", "aria-label": text("picture") },
        element("h2", {}, text("picture")), this.canvas, this.bar, this.said, this.words, this.hint);
      this.images = space.runs.map((run) => this.loaded(run));
    }

    async loaded(run) {
      if (!run.picture) return null;
      const part = this.space.numbers.part(run.picture);
      const address = URL.createObjectURL(new Blob([part], { type: run.picture.mime }));
      const image = new Image();
      image.src = address;
      await image.decode();
      URL.revokeObjectURL(address);
      return image;
    }

    drag(event) {
      if (this.space.state.mode !== "Swipe" || !event.buttons) return;
      const box = this.canvas.getBoundingClientRect();
      this.space.set({ share: clamp((event.clientX - box.left) / box.width, 0, 1) });
    }

    update() {
      const { state, run } = this.space;
      this.words.replaceChildren(...run.words.map((word, at) => this.chip(word, at)));
      this.hint.textContent = run.words.length ? text("wordsHint") : text("noWords");
      this.hint.hidden = state.word != null;
      this.draw(++this.turn);
    }
    turn = 0;

    chip(word, at) {
      const pressed = this.space.state.word === at;
      const strongest = Math.max(...this.space.run.words.map((each) => each.strength || 0)) || 1;
      const share = word.strength == null ? 1 : word.strength / strongest;
      const said = word.strength == null ? text("noStrength") : text("strength", { value: shortened(word.strength) });
      const meter = element("i", { style: `width: ${Math.round(100 * share)}%` });
      return button(word.text, () => this.space.set({ word: pressed ? null : at }), {
        "aria-pressed": pressed, class: "uv-chip", title: said, "aria-label": `${word.text}, ${said}`,
      }).appendChild(meter).parentNode;
    }

    async draw(turn) {
      const { state, runs } = this.space;
      const word = state.word == null ? null : this.space.run.words[state.word];
      const shown = await Promise.all(runs.map((run, at) => this.layer(run, at, word)));
      if (turn !== this.turn) return;
      const both = shown.length === 2 && shown[0] && shown[1];
      let found = shown[state.mode === "B" ? 1 : 0] || shown[0];
      if (both && state.mode === "Side") found = beside(...shown).canvas;
      if (both && state.mode === "Swipe") found = swiped(...shown, state.share);
      if (both && state.mode === "Difference") found = await this.difference(word);
      if (turn !== this.turn) return;
      this.canvas.hidden = !found;
      if (found) copied(found, this.canvas);
      const strength = word && (word.strength == null ? text("noStrength") : text("strength", { value: shortened(word.strength) }));
      this.said.textContent = !found ? text("noPicture") : word ? `${word.text}: ${strength}` : "";
      this.canvas.setAttribute("aria-label", word ? `${text("picture")}, ${word.text}, ${strength}` : text("picture"));
      const signed = both && state.mode === "Difference" && word;
      this.bar.hidden = !word || !found || !word.map;
      fillBar(this.bar, TABLES[signed ? SIGNED : "plasma"], signed ? ["A", "B"] : [text("low"), text("high")]);
    }

    /* One run's picture on a canvas; under a word's heat it is grey and dim. */
    async layer(run, at, word) {
      const image = await this.images[at];
      const own = word && run.words.find((each) => each.text === word.text);
      const heat = own && own.map ? await this.space.numbers.planes(own.map) : null;
      if (!image && !heat) return null;
      const [width, height] = image ? [image.naturalWidth, image.naturalHeight] : [8 * heat.width, 8 * heat.height];
      const canvas = element("canvas", { width, height }), context = canvas.getContext("2d");
      if (image) {
        if (word) context.filter = "grayscale(1) brightness(0.6)";
        context.drawImage(image, 0, 0);
        context.filter = "none";
      }
      if (heat) this.lay(context, heat, TABLES.plasma, (share) => 0.15 + 0.75 * share, [heat.low[0], heat.high[0]]);
      return canvas;
    }

    /* Lay a map over a canvas, each value as opaque as `opacity` says of its share of the range. */
    lay(context, planes, table, opacity, [low, high]) {
      const image = new ImageData(planes.width, planes.height);
      for (let at = 0; at < planes.width * planes.height; at++) {
        const value = valueAt(planes, 0, Math.floor(at / planes.width), at % planes.width);
        const share = high > low ? clamp((value - low) / (high - low), 0, 1) : 0;
        image.data.set([...(Number.isNaN(value) ? NO_VALUE : table[Math.round(share * 255) || 0]), 255 * opacity(share || 0)], 4 * at);
      }
      const small = element("canvas", { width: planes.width, height: planes.height });
      small.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingQuality = "high";
      context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
    }

    /* B - A: of the word's heat over A's grey picture, or of the pictures, around mid-grey. */
    async difference(word) {
      const [a, b] = await Promise.all(this.space.runs.map((run, at) => this.layer(run, at, null)));
      const heats = word ? this.space.runs.map((run) => run.words.find((each) => each.text === word.text)) : [];
      if (heats.length === 2 && heats.every((each) => each && each.map)) {
        const planes = differenceOf(...(await Promise.all(heats.map((each) => this.space.numbers.planes(each.map)))));
        const most = Math.max(-planes.low[0], planes.high[0]);
        const canvas = element("canvas", { width: a.width, height: a.height }), context = canvas.getContext("2d");
        context.filter = "grayscale(1) brightness(0.6)";
        context.drawImage(a, 0, 0);
        context.filter = "none";
        this.lay(context, planes, TABLES[SIGNED], (share) => 0.15 + 1.5 * Math.abs(share - 0.5), [-most, most]);
        return canvas;
      }
      const canvas = element("canvas", { width: a.width, height: a.height }), context = canvas.getContext("2d");
      context.drawImage(b, 0, 0, a.width, a.height);
      const after = context.getImageData(0, 0, a.width, a.height);
      const before = a.getContext("2d").getImageData(0, 0, a.width, a.height);
      for (let at = 0; at < after.data.length; at++) {
        if (at % 4 < 3) after.data[at] = 128 + (after.data[at] - before.data[at]) / 2;
      }
      context.putImageData(after, 0, 0);
      return canvas;
    }
  }

  function copied(from, to) {
    to.width = from.width;
    to.height = from.height;
    to.getContext("2d").drawImage(from, 0, 0);
  }

  /* A colour bar with what its ends mean. */
  function fillBar(bar, table, [low, high]) {
    const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255].map((at) => cssColour(table[at]));
    bar.replaceChildren(element("span", {}, low), element("i", { style: `background: linear-gradient(to right, ${stops})` }), element("span", {}, high));
  }

  /* The U: blocks down on the left, up on the right, each output block level with the input block it reads. */
  class UNetMap {
    constructor(space) {
      this.space = space;
      this.measure = choice(text("measure"), "uv-measure", (measure) => space.set({ measure }));
      this.bar = element("div", { class: "uv-bar" });
      this.groups = new Map();
      this.whole = element("section", { class: "uv-unet", "aria-label": text("unet") }, element("h2", {}, text("unet")),
        this.measure.whole, space.blocks.length ? this.drawing() : element("p", { class: "uv-hint" }, text("noBlocks")), this.bar);
    }

    drawing() {
      const { blocks } = this.space;
      const of = (path) => blocks.filter((block) => block.path === path);
      const down = of("in"), up = of("out"), middle = of("mid");
      const heights = [...new Set(blocks.map((block) => (block.size ? block.size[0] : 0)))].sort((a, b) => b - a);
      const level = (block) => (block && block.size ? heights.indexOf(block.size[0]) : 0);
      const rows = Math.max(down.length, up.length), width = 330, high = 22, wide = 58, pitch = 27;
      const places = new Map();
      down.forEach((block, at) => places.set(block, [8 + 16 * level(block), 6 + pitch * at]));
      up.forEach((block, at) => {
        const row = rows - 1 - at;
        places.set(block, [width - 8 - wide - 16 * level(down[row] || block), 6 + pitch * row]);
      });
      middle.forEach((block, at) => places.set(block, [(width - wide) / 2 + (at - (middle.length - 1) / 2) * (wide + 8), 6 + pitch * rows + 8]));
      const total = 6 + pitch * (rows + 1) + 12;
      const lines = [];
      const order = [...down, ...middle, ...up];
      order.slice(1).forEach((block, at) => lines.push(drawn("path", { class: "uv-path", d: pathBetween(places.get(order[at]), places.get(block), wide, high) })));
      for (const block of down) {
        const reader = blocks.find((each) => each.name === block.skip);
        if (!reader) continue;
        const [left, top] = places.get(block), [right] = places.get(reader), y = top + high / 2;
        lines.push(drawn("line", { class: "uv-skip", x1: left + wide, y1: y, x2: right, y2: y }));
        const first = down.find((each) => level(each) === level(block)) === block;
        if (first && block.size) lines.push(drawn("text", { class: "uv-size", x: width / 2, y: y + 4 }, `${block.size[0]} × ${block.size[1]}`));
      }
      const groups = order.map((block) => this.group(block, places.get(block), wide, high));
      return drawn("svg", { viewBox: `0 0 ${width} ${total}`, role: "group", "aria-label": text("unet") }, ...lines, ...groups);
    }

    group(block, [x, y], width, height) {
      const choose = () => this.space.set({ block: block.name, cell: null, part: 0 });
      const group = drawn("g", { role: "button", tabindex: -1, class: "uv-block", onclick: choose, onkeydown: (event) => {
        if (event.key === "Enter") choose();
      } }, drawn("title"), drawn("rect", { x, y, width, height, rx: 5 }), drawn("text", { x: x + width / 2, y: y + height / 2 + 4 }, block.name),
      drawn("circle", { cx: x + width - 6, cy: y + 6, r: 2.2 }));
      this.groups.set(block.name, group);
      return group;
    }

    update() {
      const { state, space = this.space } = this;
      const measures = this.space.measures();
      this.measure.set(measures.map((each) => [each.key, each.label]), this.space.state.measure);
      const chosen = measures.find((each) => each.key === this.space.state.measure);
      const values = chosen ? Object.fromEntries(space.blocks.map((block) => [block.name, chosen.at(block.name)])) : {};
      const known = chosen ? chosen.all().filter(Number.isFinite) : [];
      const low = Math.min(...known), high = Math.max(...known);
      for (const block of space.blocks) this.color(block, values[block.name], low, high, chosen);
      this.bar.hidden = !known.length;
      if (known.length) fillBar(this.bar, TABLES.viridis, [shortened(low), shortened(high)]);
    }

    color(block, value, low, high, chosen) {
      const group = this.groups.get(block.name);
      const [title, rect, label, dot] = group.children;
      const there = Number.isFinite(value);
      const colour = there ? TABLES.viridis[Math.round(255 * (high > low ? (value - low) / (high - low) : 0.5))] : null;
      rect.style.fill = colour ? cssColour(colour) : "";
      label.style.fill = dot.style.fill = colour ? inkOn(colour) : "";
      const maps = this.space.mapsOf(block.name).length > 0;
      dot.style.display = maps ? "" : "none";
      const pressed = block.name === this.space.state.block;
      group.classList.toggle("uv-none", !there);
      group.setAttribute("aria-pressed", pressed);
      group.setAttribute("tabindex", pressed ? 0 : -1);
      const said = [block.name, block.size && block.size.join(" × "), block.channels && text("channels", { count: block.channels }),
        chosen && `${chosen.label}: ${there ? shortened(value) : text("noMeasure")}`, maps && text("hasMaps")].filter(Boolean).join(", ");
      title.textContent = said;
      group.setAttribute("aria-label", said);
    }
  }

  /* From one block's box to the next one's: straight down or up, or around the corner to the middle block. */
  function pathBetween([x1, y1], [x2, y2], width, height) {
    const from = x1 + width / 2, to = x2 + width / 2;
    if (y2 > y1 && Math.abs(from - to) < 40) return `M${from} ${y1 + height} L${to} ${y2}`;
    if (y1 > y2 && Math.abs(from - to) < 40) return `M${from} ${y1} L${to} ${y2 + height}`;
    if (y2 > y1) return `M${from} ${y1 + height} V${y2 + height / 2} H${x2}`;
    return `M${x1 + width} ${y1 + height / 2} H${to} V${y2 + height}`;
  }

  /* The steps, with the strength of the chosen word along them. */
  class TimeLine {
    constructor(space) {
      this.space = space;
      this.range = element("input", { type: "range", min: 0, max: Math.max(0, space.steps.length - 1), "aria-label": text("steps"),
        oninput: () => space.set({ step: Number(this.range.value) }) });
      this.play = button(text("play"), () => space.play(), { class: "uv-play" });
      this.said = element("output", { class: "uv-line" });
      this.chart = drawn("svg", { class: "uv-chart", viewBox: "0 0 1000 60", preserveAspectRatio: "none", "aria-hidden": true });
      this.caption = element("span", { class: "uv-hint" });
      this.whole = element("section", { class: "uv-time", "aria-label": text("steps"), hidden: space.steps.length === 0 },
        element("div", { class: "uv-row" }, this.play, this.said, this.caption), this.chart, this.range);
    }

    update() {
      const { state, steps, run } = this.space;
      const step = steps[state.step];
      if (!step) return;
      this.range.value = state.step;
      const sigma = step.sigma == null ? "" : `, ${text("sigma", { sigma: shortened(step.sigma) })}`;
      this.said.textContent = `${text("step", { step: step.step })}${sigma}`;
      this.range.setAttribute("aria-valuetext", this.said.textContent);
      this.play.textContent = text(this.space.timer ? "pause" : "play");
      const word = run.words[state.word];
      const values = word ? steps.map((each) => this.space.byStep(word.by_step, each.step)) : [];
      const most = Math.max(...values.filter((value) => value != null), 1e-12);
      const across = (at) => (steps.length > 1 ? 8 + (984 * at) / (steps.length - 1) : 500);
      const points = values.map((value, at) => (value == null ? null : [across(at), 54 - (48 * value) / most])).filter(Boolean);
      this.chart.replaceChildren(
        drawn("line", { class: "uv-now", x1: across(state.step), x2: across(state.step), y1: 0, y2: 60 }),
        drawn("polyline", { class: "uv-curve", points: points.map((point) => point.join(",")).join(" ") }));
      this.chart.classList.toggle("uv-flat", !points.length);
      this.caption.textContent = points.length ? `${text("strengthBySteps", { word: word.text })}: ${shortened(values[state.step])}` : "";
    }
  }

  /* The maps of the chosen block, all pictures of one at a time; one of them enlarged. */
  class Sheet {
    constructor(space) {
      this.space = space;
      this.map = choice(text("map"), "uv-map", (value) => space.set({ kind: JSON.parse(value), cell: null, part: 0, head: null }));
      this.heads = choice(text("heads"), "uv-heads", (value) => space.set({ head: value === "" ? null : Number(value), cell: null, part: 0 }));
      this.colours = choice(text("colours"), "uv-colours", (colours) => space.set({ colours }));
      this.scale = choice(text("scale"), "uv-scale", (scale) => space.set({ scale }));
      this.parts = choice(text("part"), "uv-part", (value) => space.set({ part: Number(value), cell: null }));
      this.title = element("h2");
      this.canvas = element("canvas", { tabindex: 0, role: "img", "aria-describedby": "uv-grid-help",
        onpointermove: (event) => this.hover(event), onpointerleave: () => this.leave(), onclick: (event) => this.click(event),
        onkeydown: (event) => this.keys(event) });
      this.cursor = element("div", { class: "uv-cursor", hidden: true });
      this.columns = element("div", { class: "uv-columns", "aria-hidden": true });
      this.rows = element("div", { class: "uv-rows", "aria-hidden": true });
      this.frame = element("div", { class: "uv-frame" }, this.columns, this.rows, element("div", { class: "uv-canvas" }, this.canvas, this.cursor));
      this.line = element("output", { class: "uv-line uv-read" }, text("hover"));
      this.bar = element("div", { class: "uv-bar" });
      this.back = button(text("back"), () => space.set({ cell: null }));
      this.previous = button(text("previous"), () => this.turnCell(-1));
      this.next = button(text("next"), () => this.turnCell(1));
      this.empty = element("p", { class: "uv-hint" });
      this.saves = element("div", { class: "uv-row" }, button(text("savePng"), () => this.savePng(), { class: "uv-quiet" }), button(text("saveNpy"), () => this.saveNpy(), { class: "uv-quiet" }));
      this.enlarged = element("div", { class: "uv-row" }, this.back, this.previous, this.next);
      this.whole = element("section", { class: "uv-sheet", "aria-label": text("sheet") }, this.title,
        element("div", { class: "uv-row" }, this.map.whole, this.heads.whole, this.colours.whole, this.scale.whole, this.parts.whole),
        this.enlarged, this.empty, this.frame, this.bar, this.line, this.saves,
        element("p", { id: "uv-grid-help", class: "uv-hidden" }, text("gridHelp")));
      this.focus = 0;
    }

    update() {
      this.draw(++this.turn);
    }
    turn = 0;

    async draw(turn) {
      const { state } = this.space;
      const maps = this.space.mapsOf(state.block);
      const map = maps.find((each) => state.kind && sameKind(each, state.kind)) || maps[0];
      this.map.set(maps.map((each) => [JSON.stringify({ kind: each.kind, attention: each.attention, layer: each.layer }), mapText(each)]),
        map && JSON.stringify({ kind: map.kind, attention: map.attention, layer: map.layer }));
      this.title.textContent = [state.block, map && mapText(map)].filter(Boolean).join(" · ") || text("sheet");
      for (const part of [this.frame, this.bar, this.line, this.saves, this.colours.whole, this.scale.whole]) part.hidden = !map;
      this.empty.hidden = !!map;
      this.enlarged.hidden = !map || state.cell == null;
      if (!map) {
        const none = this.space.runs.every((run) => !run.maps.length);
        this.empty.textContent = none ? text("noFeatures") : text("noMaps", { block: state.block || "–" });
        this.heads.whole.hidden = this.parts.whole.hidden = true;
        return;
      }
      const shown = await this.loaded(map);
      if (turn !== this.turn) return;
      this.show(map, shown);
    }

    /* What is to be drawn: [{name, planes}] of one run, of both side by side, or of their difference. */
    async loaded(map) {
      const { state, runs, numbers } = this.space;
      const own = runs.map((run) => this.space.mapsOf(state.block, run).find((each) => sameKind(each, map) && String(each.shape) === String(map.shape)));
      const both = await Promise.all(own.map((each) => each && numbers.planes(each.values)));
      const names = runs.map((run) => run.name);
      const one = (at) => [{ name: names[at], planes: both[at] }];
      if (runs.length < 2 || !both[0] || !both[1]) {
        const there = both[0] ? 0 : 1;
        this.missing = runs.length === 2;
        return one(runs.length === 2 && state.mode === "B" && both[1] ? 1 : there);
      }
      this.missing = false;
      if (state.mode === "Difference") {
        this.differences = this.differences || new WeakMap();
        if (!this.differences.has(both[1])) this.differences.set(both[1], differenceOf(...both));
        return [{ name: text("difference"), planes: this.differences.get(both[1]) }];
      }
      if (state.mode === "Side" || state.mode === "Swipe") return [...one(0), ...one(1)];
      return one(state.mode === "B" ? 1 : 0);
    }

    show(map, shown) {
      const { state } = this.space;
      const planes = shown[0].planes;
      const signed = shown[0].name === text("difference");
      const heads = map.axes[0] === "head" ? map.shape[0] : 0;
      this.heads.set(heads > 1 ? [["", text("allHeads")], ...[...Array(heads).keys()].map((at) => [at, text("head", { at })])] : [], state.head == null ? "" : state.head);
      const colours = signed ? SIGNED : state.colours, scale = signed ? "Symmetric" : state.scale;
      this.colours.set(Object.keys(TABLES).map((name) => [name, name]), colours);
      this.scale.set(SCALES.map((name) => [name, text(`scale${name}`)]), scale);
      this.colours.select.disabled = this.scale.select.disabled = signed;
      let grid = gridOf(map, planes, heads > 1 ? state.head : null, state.part);
      this.parts.set([...Array(grid.parts).keys()].map((at) => [at, `${at + 1} / ${grid.parts}`]), state.part);
      this.all = grid.planes;
      const range = sharedRange(shown, scale, grid.planes);
      if (state.cell != null) grid = { planes: [state.cell], columns: 1, rows: 1, parts: 1, byRow: false };
      const canvases = shown.map((each) => painted(each.planes, grid, range(each.planes), TABLES[colours]));
      let found = canvases[0], second = 0;
      if (canvases.length === 2 && state.mode === "Side") ({ canvas: found, second } = beside(...canvases));
      if (canvases.length === 2 && state.mode === "Swipe") found = swiped(...canvases, state.share);
      copied(found, this.canvas);
      Object.assign(this, { current: map, shown, grid, second, single: canvases[0].width });
      this.focus = clamp(this.focus, 0, grid.planes.length - 1);
      this.canvas.classList.toggle("uv-one", state.cell != null);
      this.label(map, grid, state);
      const [low, high] = scale === "Each" && grid.planes.length > 1 ? [NaN, NaN] : range(planes)(grid.planes[0]);
      fillBar(this.bar, TABLES[colours], Number.isNaN(low) ? [text("low"), text("high")] : [shortened(low), shortened(high)]);
      const what = state.cell == null ? this.title.textContent : `${this.title.textContent}, ${nameOf(map, state.cell)}`;
      this.canvas.setAttribute("aria-label", what);
      this.line.textContent = this.missing ? text("noOther") : state.cell == null ? text("hover") : nameOf(map, state.cell);
      this.moveCursor(false);
      this.space.say(what);
    }

    /* Tokens over the columns and heads beside the rows, where the sheet has such. */
    label(map, grid, state) {
      const labelled = grid.byRow && map.axes[1] === "token" && state.mode !== "Side" && grid.planes.length > 1;
      this.frame.classList.toggle("uv-labelled", labelled);
      if (!labelled) return this.columns.replaceChildren(), this.rows.replaceChildren();
      const word = this.space.run.words[state.word];
      const chosen = new Set(word ? word.tokens : []);
      const plain = grid.planes.slice(0, grid.columns).map((_, at) => {
        const label = map.labels && map.labels[at] ? map.labels[at] : String(map.tokens ? map.tokens[at] : at);
        return element("span", { class: map.tokens && chosen.has(map.tokens[at]) ? "uv-chosen" : "", title: label }, label);
      });
      this.columns.replaceChildren(...plain);
      const first = Math.floor(grid.planes[0] / grid.columns);
      this.rows.replaceChildren(...[...Array(grid.rows).keys()].map((at) => element("span", {}, String(first + at))));
    }

    /* {cell, plane, x, y, which} under a pointer, or null between pictures. */
    under(event) {
      if (!this.shown) return null;
      const box = this.canvas.getBoundingClientRect();
      let x = Math.floor(((event.clientX - box.left) / box.width) * this.canvas.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * this.canvas.height);
      const { height, width } = this.shown[0].planes;
      let which = this.shown[0];
      if (this.second && x >= this.second) [x, which] = [x - this.second, this.shown[1]];
      else if (this.space.state.mode === "Swipe" && this.shown.length === 2 && x >= this.space.state.share * this.canvas.width) which = this.shown[1];
      if (x < 0 || y < 0 || x >= this.single) return null;
      const [column, inX] = [Math.floor(x / (width + GAP)), x % (width + GAP)];
      const [row, inY] = [Math.floor(y / (height + GAP)), y % (height + GAP)];
      const cell = row * this.grid.columns + column;
      if (inX >= width || inY >= height || cell >= this.grid.planes.length) return null;
      return { cell, plane: this.grid.planes[cell], x: inX, y: inY, which };
    }

    hover(event) {
      const at = this.under(event);
      if (!at) return;
      const value = valueAt(at.which.planes, at.plane, at.y, at.x);
      const said = Number.isNaN(value) ? text("notFinite") : text("value", { value: shortened(value) });
      const name = this.space.runs.length > 1 ? `${at.which.name}: ` : "";
      this.line.textContent = `${name}${nameOf(this.current, at.plane)} · ${text("place", { x: at.x, y: at.y })} · ${said}`;
    }

    leave() {
      const { cell } = this.space.state;
      this.line.textContent = cell == null ? text("hover") : nameOf(this.current, cell);
    }

    click(event) {
      const at = this.under(event);
      if (at) this.enlarge(this.space.state.cell == null ? at.plane : null);
    }

    /* Show one picture of the sheet alone; null: all of them again. */
    enlarge(plane) {
      if (plane == null && this.space.state.cell != null) this.focus = Math.max(0, this.all.indexOf(this.space.state.cell));
      this.space.set({ cell: plane });
    }

    toggle() {
      if (this.grid) this.enlarge(this.space.state.cell == null ? this.grid.planes[this.focus] : null);
    }

    turnCell(by) {
      const at = this.all.indexOf(this.space.state.cell);
      this.space.set({ cell: this.all[(at + by + this.all.length) % this.all.length] });
    }

    keys(event) {
      const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.grid.columns, ArrowDown: this.grid.columns };
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in moves || event.key === "Enter")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") return this.toggle();
      if (this.space.state.cell != null) return this.turnCell(Math.sign(moves[event.key]));
      this.focus = clamp(this.focus + moves[event.key], 0, this.grid.planes.length - 1);
      this.moveCursor(true);
    }

    /* Frame the picture that the keyboard is at. */
    moveCursor(said) {
      const { columns, rows } = this.grid, single = (100 * this.single) / this.canvas.width;
      this.cursor.hidden = this.grid.planes.length < 2;
      Object.assign(this.cursor.style, {
        left: `${((this.focus % columns) * single) / columns}%`, top: `${(Math.floor(this.focus / columns) * 100) / rows}%`,
        width: `${single / columns}%`, height: `${100 / rows}%`,
      });
      if (said) this.space.say((this.line.textContent = nameOf(this.current, this.grid.planes[this.focus])));
    }

    fileName(suffix) {
      const { kind, attention, block, layer, step } = this.current;
      const at = this.space.state.cell == null ? "" : `picture ${this.space.state.cell}`;
      return [block, layer, attention, kind, step == null ? "mean" : `step ${step}`, at].filter((part) => part != null && part !== "").join("-").replaceAll(" ", "-") + suffix;
    }

    savePng() {
      this.canvas.toBlob((blob) => download(blob, this.fileName(".png")));
    }

    saveNpy() {
      download(npyOf(this.current, this.shown[0].planes), this.fileName(".npy"));
    }
  }

  /* By planes: the same range for all that are shown, so that two runs can be compared. */
  function sharedRange(shown, scale, planes) {
    if (scale === "Each" || shown.length === 1) return (each) => ranges(each, scale, planes);
    const ends = shown.map((each) => ranges(each.planes, scale, planes)(planes[0]));
    const whole = [Math.min(...ends.map((end) => end[0])), Math.max(...ends.map((end) => end[1]))];
    return () => () => whole;
  }

  // The whole -------------------------------------------------------------------------------------------

  class Workspace {
    constructor(root, manifest, numbers) {
      this.manifest = manifest;
      this.numbers = numbers;
      this.runs = manifest.runs;
      const numbersOf = new Map(this.runs.flatMap((run) => run.steps).map((step) => [step.step, step]));
      this.steps = [...numbersOf.values()].sort((a, b) => a.step - b.step);
      this.blocks = this.runs[0].blocks;
      const last = Math.max(0, this.steps.length - 1);
      this.state = { mode: this.runs.length > 1 ? "Side" : "A", word: null, step: last, block: null, kind: null, head: null, cell: null,
        part: 0, measure: "norm", colours: "viridis", scale: "Sheet", share: 0.5 };
      this.state.block = this.firstBlock();
      this.state.measure = (this.measures()[0] || { key: "norm" }).key;
      this.status = element("p", { class: "uv-hidden", role: "status", "aria-live": "polite" });
      this.help = this.helpDialog();
      this.parts = [new Pictures(this), new UNetMap(this), new Sheet(this), new TimeLine(this)];
      this.sheet = this.parts[2];
      root.replaceChildren(this.header(), element("main", {}, ...this.parts.map((part) => part.whole)), this.status, this.help);
      document.addEventListener("keydown", (event) => this.key(event));
      this.update();
    }

    /* The run that words, measures and names are of. */
    get run() {
      return this.runs[this.runs.length > 1 && this.state.mode === "B" ? 1 : 0];
    }

    firstBlock() {
      const named = this.blocks.map((block) => block.name);
      const withMaps = named.filter((name) => this.mapsOf(name).length);
      return withMaps.find((name) => name === "OUT08") || withMaps[withMaps.length - 1] || named[0] || null;
    }

    header() {
      const mode = MODES.map((name) => button(text(`mode${name}`), () => this.set({ mode: name }), { "data-mode": name }));
      this.modes = element("div", { class: "uv-modes", role: "group", "aria-label": text("compare") }, ...mode);
      this.border = element("input", { type: "range", min: 0, max: 1000, "aria-label": text("swipe"), class: "uv-border",
        oninput: () => this.set({ share: this.border.value / 1000 }) });
      const notes = this.runs.flatMap((run) => run.notes.map((note) => (this.runs.length > 1 ? `${run.name}: ${note}` : note)));
      const noteList = notes.length && element("details", {}, element("summary", {}, `${text("notes")} (${notes.length})`),
        element("ul", {}, ...notes.map((note) => element("li", {}, note))));
      return element("header", {}, element("div", { class: "uv-runs" }, ...this.runs.map((run) => this.described(run)), noteList || null),
        element("div", { class: "uv-tools" }, this.runs.length > 1 ? this.modes : null, this.border,
          button(text("theme"), () => this.theme(), { class: "uv-quiet" }), button("?", () => this.help.showModal(), { class: "uv-quiet", "aria-label": text("help"), title: text("help") })));
    }

    described(run) {
      const facts = [run.model, run.seed == null ? null : text("seed", { seed: run.seed }), run.which].filter(Boolean).join(" · ");
      return element("div", { class: "uv-run" }, this.runs.length > 1 ? element("b", {}, run.name) : null,
        element("h1", { title: run.prompt }, run.prompt || run.name), element("p", { class: "uv-hint" }, facts),
        run.negative ? element("p", { class: "uv-hint" }, `${text("negative")}: ${run.negative}`) : null);
    }

    helpDialog() {
      const lines = text("keys").split("|").map((line) => {
        const keys = line.match(/^(?:[←→↑↓?] ?)+|^\S+/)[0];
        return element("li", {}, element("kbd", {}, keys.trim()), ` ${line.slice(keys.length).trim()}`);
      });
      const dialog = element("dialog", { "aria-label": text("help"), onclick: (event) => event.target === dialog && dialog.close() },
        element("h2", {}, text("help")), element("ul", {}, ...lines), button(text("close"), () => dialog.close()));
      return dialog;
    }

    set(changes) {
      Object.assign(this.state, changes);
      this.update();
    }

    update() {
      for (const each of this.modes.children) each.setAttribute("aria-pressed", each.dataset.mode === this.state.mode);
      this.border.hidden = this.runs.length < 2 || this.state.mode !== "Swipe";
      this.border.value = Math.round(1000 * this.state.share);
      if (this.state.word != null && this.state.word >= this.run.words.length) this.state.word = null;
      if (!this.measures().some((each) => each.key === this.state.measure)) this.state.measure = "norm";
      for (const part of this.parts) part.update();
    }

    say(what) {
      this.status.textContent = what;
    }

    byStep(values, step) {
      const at = this.run.steps.findIndex((each) => each.step === step);
      return at < 0 || !values ? null : values[at];
    }

    /* Maps of a block at the chosen step, then those that are means over steps. */
    mapsOf(block, run = this.run) {
      const step = this.steps[this.state.step];
      const of = (wanted) => run.maps.filter((map) => map.block === block && map.step === wanted);
      return [...(step ? of(step.step) : []), ...of(null)].filter((map, at, all) => all.findIndex((each) => sameKind(each, map)) === at);
    }

    /* What blocks can be coloured by: {key, label, at(block) now, all() over steps}. */
    measures() {
      const { run, state } = this;
      const step = this.steps[state.step];
      const found = [];
      const add = (key, label, table, means) => {
        const at = (block) => (step ? this.byStep((table || {})[block], step.step) : null) ?? (means || {})[block];
        const all = () => [...Object.values(table || {}).flat(), ...(Object.keys(table || {}).length ? [] : Object.values(means || {}))].filter((value) => value != null);
        if (all().length) found.push({ key, label, at, all });
      };
      add("norm", text("norm"), run.measures.norm, run.means.norm);
      add("words", text("wordsAct"), run.measures.words, run.means.words);
      const word = run.words[state.word];
      if (word) add("word", text("word", { word: word.text }), run.measures.word[state.word], run.means.word[state.word]);
      const changed = this.runs.find((each) => each.measures.change);
      if (changed) add("change", text("change"), changed.measures.change, changed.means.change);
      return found;
    }

    theme() {
      const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
      document.documentElement.dataset.theme = dark === "dark" ? "light" : "dark";
    }

    /* Go through the steps once after the other, until pressed again. */
    play() {
      if (this.timer) this.timer = clearInterval(this.timer);
      else if (this.steps.length > 1) this.timer = setInterval(() => this.set({ step: (this.state.step + 1) % this.steps.length }), 600);
      this.update();
    }

    key(event) {
      const inField = event.target.matches && event.target.matches("select, input, textarea");
      if (event.ctrlKey || event.metaKey || event.altKey || inField || (this.help.open && event.key !== "?")) return;
      if (event.key === " " && event.target.matches("button, summary")) return;
      const { state } = this;
      const turned = (names, now, by) => names[(names.indexOf(now) + by + names.length) % names.length];
      const names = this.blocks.map((block) => block.name);
      const choose = (block) => {
        this.set({ block, cell: null, part: 0 });
        this.parts[1].groups.get(block).focus({ preventScroll: true });
      };
      const heads = this.sheet.current && this.sheet.current.axes[0] === "head" ? this.sheet.current.shape[0] : 0;
      const kinds = this.mapsOf(state.block);
      const actions = {
        ArrowLeft: () => this.set({ step: clamp(state.step - 1, 0, this.steps.length - 1) }),
        ArrowRight: () => this.set({ step: clamp(state.step + 1, 0, this.steps.length - 1) }),
        ArrowUp: () => names.length && choose(turned(names, state.block, -1)),
        ArrowDown: () => names.length && choose(turned(names, state.block, 1)),
        w: () => this.set({ word: this.run.words.length ? turned([null, ...this.run.words.keys()], state.word, 1) : null }),
        h: () => heads > 1 && this.set({ head: turned([null, ...Array(heads).keys()], state.head, 1), cell: null, part: 0 }),
        m: () => kinds.length && this.set({ kind: turned(kinds, kinds.find((map) => state.kind && sameKind(map, state.kind)) || kinds[0], 1), cell: null, part: 0, head: null }),
        d: () => this.runs.length > 1 && this.set({ mode: state.mode === "Difference" ? "Side" : "Difference" }),
        c: () => this.runs.length > 1 && this.set({ mode: turned(MODES, state.mode, 1) }),
        z: () => this.sheet.toggle(),
        " ": () => this.play(),
        "?": () => (this.help.open ? this.help.close() : this.help.showModal()),
        Escape: () => state.cell != null && this.sheet.enlarge(null),
      };
      const act = actions[event.key] || actions[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    }
  }

  /* Draw the workspace, or say why it cannot be drawn. */
  function start() {
    const root = document.getElementById("uv-workspace");
    document.documentElement.lang = LANGUAGE;
    try {
      const manifest = JSON.parse(document.getElementById("uv-manifest").textContent);
      if (manifest.format !== 1) throw new Error(text("format", { format: manifest.format }));
      const numbers = new Numbers(document.getElementById("uv-numbers").textContent);
      new Workspace(root, manifest, numbers);
    } catch (error) {
      root.replaceChildren(element("p", { class: "uv-problem", role: "alert" }, text("broken", { why: error.message })));
    }
  }
  start();
})();
