"use strict";
// Draws the clouds of the page's data with WebGL 2: points into a texture with depth, then edges
// of depth darkened ("eye-dome lighting") on the way to the screen. No library, no network.

const POINTS_VERTEX = `#version 300 es
in vec3 position;
in vec4 colour;
uniform mat4 view, projection;
uniform float diameter, distance, largest;
out vec3 ink;
void main() {
  vec4 seen = view * vec4(position, 1.0);
  gl_Position = colour.a < 0.5 ? vec4(2.0, 2.0, 2.0, 1.0) : projection * seen;
  float grow = clamp(distance / max(-seen.z, 1e-3), 0.6, 3.0);
  gl_PointSize = min(diameter * grow, largest);
  ink = colour.rgb;
}`;

const POINTS_FRAGMENT = `#version 300 es
precision highp float;
in vec3 ink;
out vec4 result;
void main() {
  vec2 away = gl_PointCoord * 2.0 - 1.0;
  if (dot(away, away) > 1.0) discard;
  result = vec4(ink, 1.0);
}`;

// A line is two triangles, as wide as asked; its ends are cut where they pass behind the eye.
const LINES_VERTEX = `#version 300 es
in vec3 start;
in vec3 end;
in vec3 colour;
uniform mat4 view, projection;
uniform vec2 screen;
uniform float width, near;
out vec3 ink;
void main() {
  vec4 a = view * vec4(start, 1.0), b = view * vec4(end, 1.0);
  ink = colour;
  if (a.z > -near && b.z > -near) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (a.z > -near) a = mix(a, b, (a.z + near) / (a.z - b.z));
  if (b.z > -near) b = mix(b, a, (b.z + near) / (b.z - a.z));
  vec4 p = projection * a, q = projection * b;
  vec2 along = (q.xy / q.w - p.xy / p.w) * screen;
  vec2 across = length(along) > 1e-6 ? normalize(vec2(-along.y, along.x)) : vec2(0.0, 1.0);
  bool last = gl_VertexID == 1 || gl_VertexID == 2 || gl_VertexID == 4;
  float side = gl_VertexID == 2 || gl_VertexID == 4 || gl_VertexID == 5 ? 1.0 : -1.0;
  gl_Position = last ? q : p;
  gl_Position.xy += across * side * width / screen * gl_Position.w;
}`;

const LINES_FRAGMENT = `#version 300 es
precision highp float;
in vec3 ink;
out vec4 result;
void main() { result = vec4(ink, 0.5); }`;

const SCREEN_VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0;
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

// alpha says what a texel is: 0 nothing, 0.5 a line, 1 a point
const SCREEN_FRAGMENT = `#version 300 es
precision highp float;
uniform highp sampler2D colours, depths;
uniform vec3 ground;
uniform float near, far, reach, strength;
uniform int fine;
out vec4 result;
float metres(ivec2 at) {
  float d = texelFetch(depths, clamp(at, ivec2(0), textureSize(depths, 0) - 1), 0).r;
  return d >= 1.0 ? 1e9 : 2.0 * near * far / (far + near - (2.0 * d - 1.0) * (far - near));
}
vec3 shaded(ivec2 at) {
  vec4 c = texelFetch(colours, at, 0);
  if (c.a < 0.25) return ground;
  if (c.a < 0.75 || strength <= 0.0) return c.rgb;
  float here = log2(metres(at)), deeper = 0.0;
  for (int ring = 1; ring <= 2; ring++) {
    int s = int(float(2 * ring - 1) * reach + 0.5);
    float weight = ring == 1 ? 1.0 : 0.6;
    deeper += weight * clamp(here - log2(metres(at + ivec2(s, 0))), 0.0, 0.125);
    deeper += weight * clamp(here - log2(metres(at - ivec2(s, 0))), 0.0, 0.125);
    deeper += weight * clamp(here - log2(metres(at + ivec2(0, s))), 0.0, 0.125);
    deeper += weight * clamp(here - log2(metres(at - ivec2(0, s))), 0.0, 0.125);
  }
  return c.rgb * exp(-4.0 * strength * deeper);
}
void main() {
  ivec2 first = ivec2(gl_FragCoord.xy) * fine;
  vec3 sum = vec3(0.0);
  for (int y = 0; y < fine; y++) for (int x = 0; x < fine; x++) sum += shaded(first + ivec2(x, y));
  result = vec4(sum / float(fine * fine), 1.0);
}`;

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const ANGLE = DATA.angle * Math.PI / 180;
const GREY = [150, 150, 150];
const themes = {
  light: { ground: [255, 255, 255], grid: [222, 225, 230], box: [20, 20, 24] },
  dark: { ground: [17, 19, 24], grid: [50, 54, 62], box: [245, 246, 248] },
};

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

function integers(text, width) {
  const raw = bytes(text);
  return width === 1 ? raw : width === 2 ? new Uint16Array(raw.buffer) : new Uint32Array(raw.buffer);
}

// Everything of a scan that drawing needs; decoded when the scan is first shown.
function decode(scan) {
  if (scan.decoded) return scan.decoded;
  const q = integers(scan.points, 2), n = scan.count;
  const position = new Float32Array(n * 3);
  for (let i = 0; i < n * 3; i++) {
    const axis = i % 3;
    position[i] = scan.low[axis] + q[i] * scan.step[axis] - DATA.origin[axis];
  }
  const modes = scan.modes.map((mode) => ({
    ...mode,
    table: mode.table ? bytes(mode.table) : null,
    rgb: mode.rgb ? bytes(mode.rgb) : null,
    index: mode.index ? integers(mode.index, mode.width) : null,
  }));
  scan.decoded = { position, modes };
  return scan.decoded;
}

const state = {
  scan: 0, mode: null, hidden: new Set(), boxes: true, grid: true, legend: true, scale: 1,
  theme: DATA.theme === "auto"
    ? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") : DATA.theme,
  azimuth: 0, elevation: 0, distance: 1, target: [0, 0, 0],
};

function sorry(why) {
  $("why").textContent = why;
  $("sorry").hidden = false;
  for (const id of ["top", "legend", "scans", "note"]) $(id).hidden = true;
}

const canvas = $("canvas");
const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true });

function program(vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
    const name = gl.getActiveUniform(made, i).name;
    uniforms[name] = gl.getUniformLocation(made, name);
  }
  return { made, uniforms, at: (name) => gl.getAttribLocation(made, name) };
}

function attribute(where, buffer, size, type, normalised, stride, offset, divisor) {
  if (where < 0) return;
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(where);
  gl.vertexAttribPointer(where, size, type, normalised, stride, offset);
  gl.vertexAttribDivisor(where, divisor);
}

function main() {
  const points = program(POINTS_VERTEX, POINTS_FRAGMENT);
  const lines = program(LINES_VERTEX, LINES_FRAGMENT);
  const screen = program(SCREEN_VERTEX, SCREEN_FRAGMENT);
  const positions = gl.createBuffer(), colours = gl.createBuffer(), segments = gl.createBuffer();
  const cloud = gl.createVertexArray(), wires = gl.createVertexArray(), nothing = gl.createVertexArray();
  gl.bindVertexArray(cloud);
  attribute(points.at("position"), positions, 3, gl.FLOAT, false, 0, 0, 0);
  attribute(points.at("colour"), colours, 4, gl.UNSIGNED_BYTE, true, 0, 0, 0);
  gl.bindVertexArray(wires);
  attribute(lines.at("start"), segments, 3, gl.FLOAT, false, 36, 0, 1);
  attribute(lines.at("end"), segments, 3, gl.FLOAT, false, 36, 12, 1);
  attribute(lines.at("colour"), segments, 3, gl.FLOAT, false, 36, 24, 1);
  const frame = gl.createFramebuffer(), colourMap = gl.createTexture(), depthMap = gl.createTexture();
  let size = [0, 0], fine = 1, ratio = 1, grids = 0, strokes = 0, waiting = false;

  function resize() {
    ratio = Math.min(window.devicePixelRatio || 1, 2);
    fine = ratio >= 1.5 ? 1 : 2;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (width === size[0] && height === size[1]) return;
    size = [width, height];
    canvas.width = width;
    canvas.height = height;
    const big = [width * fine, height * fine];
    gl.bindTexture(gl.TEXTURE_2D, colourMap);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, ...big, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindTexture(gl.TEXTURE_2D, depthMap);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.DEPTH_COMPONENT24, ...big, 0,
      gl.DEPTH_COMPONENT, gl.UNSIGNED_INT, null);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, colourMap, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, depthMap, 0);
  }

  // ---- the camera

  const scan = () => DATA.scans[state.scan];
  const current = () => decode(scan());
  const mode = () => current().modes.find((m) => m.name === state.mode) || current().modes[0];

  function home() {
    const first = DATA.view;
    state.azimuth = first.azimuth;
    state.elevation = first.elevation;
    const aspect = canvas.clientWidth / Math.max(canvas.clientHeight, 1);
    state.distance = first.distance * Math.max(1, 1.5 / aspect);
    state.target = first.target.slice();
  }

  function basis() {
    const a = state.azimuth * Math.PI / 180, e = state.elevation * Math.PI / 180;
    const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
    const eye = state.target.map((t, i) => t + back[i] * state.distance);
    return { back, right, up, eye };
  }

  function matrices() {
    const { back, right, up, eye } = basis();
    const dot = (v) => v[0] * eye[0] + v[1] * eye[1] + v[2] * eye[2];
    const view = new Float32Array([
      right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
      -dot(right), -dot(up), -dot(back), 1]);
    const far = state.distance + DATA.radius * 4, near = Math.max(state.distance / 400, far / 20000);
    const f = 1 / Math.tan(ANGLE / 2), aspect = size[0] / size[1];
    const projection = new Float32Array([
      f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1,
      0, 0, 2 * far * near / (near - far), 0]);
    return { view, projection, near, far };
  }

  // ---- what is drawn

  function fillColours() {
    const shown = mode(), n = scan().count, out = new Uint8Array(n * 4);
    const hidden = (shown.names || []).map((name) => state.hidden.has(name));
    const noneHidden = state.hidden.has("");
    for (let i = 0; i < n; i++) {
      let c = GREY, k = 0, on = true;
      if (shown.rgb) {
        c = shown.rgb;
        k = 3 * i;
      } else {
        const row = shown.index[i];
        if (row > 0) {
          c = shown.table;
          k = 3 * (row - 1);
          on = !hidden[row - 1];
        } else on = !(noneHidden && shown.names);
      }
      out[4 * i] = c[k];
      out[4 * i + 1] = c[k + 1];
      out[4 * i + 2] = c[k + 2];
      out[4 * i + 3] = on ? 255 : 0;
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, colours);
    gl.bufferData(gl.ARRAY_BUFFER, out, gl.STATIC_DRAW);
  }

  function fillLines() {
    const { grid, box } = themes[state.theme], rows = [], shift = DATA.origin;
    const between = (a, b) => a.map((v, i) => (v + b[i]) / 2);
    const put = (a, b, colour) => {
      rows.push(...a.map((v, i) => v - shift[i]), ...b.map((v, i) => v - shift[i]),
        ...colour.map((v) => v / 255));
    };
    if (state.grid) {
      const { low, high, step } = DATA.grid;
      for (let x = low[0]; x <= high[0] + step / 2; x += step) put([x, low[1], low[2]], [x, high[1], low[2]], grid);
      for (let y = low[1]; y <= high[1] + step / 2; y += step) put([low[0], y, low[2]], [high[0], y, low[2]], grid);
    }
    grids = rows.length / 9;
    if (state.boxes) {
      for (const { corners: c, colour } of scan().boxes) {
        for (const [a, b] of DATA.edges) put(c[a], c[b], colour || box);
        // along the floor from the middle to the side that the box heads for
        put(between(c[0], c[2]), between(c[0], c[1]), colour || box);
      }
    }
    strokes = rows.length / 9 - grids;
    gl.bindBuffer(gl.ARRAY_BUFFER, segments);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(rows), gl.STATIC_DRAW);
  }

  function draw() {
    waiting = false;
    resize();
    const { view, projection, near, far } = matrices();
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    gl.viewport(0, 0, size[0] * fine, size[1] * fine);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(points.made);
    gl.bindVertexArray(cloud);
    gl.uniformMatrix4fv(points.uniforms.view, false, view);
    gl.uniformMatrix4fv(points.uniforms.projection, false, projection);
    const pixels = size[1] * fine / 2 / Math.tan(ANGLE / 2) / state.distance;
    const even = 2.6 * ratio * fine, closed = 2.5 * scan().spacing * pixels;
    gl.uniform1f(points.uniforms.diameter, Math.max(even, Math.min(closed, 7 * even)) * state.scale);
    gl.uniform1f(points.uniforms.distance, state.distance);
    gl.uniform1f(points.uniforms.largest, 60 * ratio * fine);
    gl.drawArrays(gl.POINTS, 0, scan().count);
    gl.useProgram(lines.made);
    gl.bindVertexArray(wires);
    gl.uniformMatrix4fv(lines.uniforms.view, false, view);
    gl.uniformMatrix4fv(lines.uniforms.projection, false, projection);
    gl.uniform2f(lines.uniforms.screen, size[0] * fine, size[1] * fine);
    gl.uniform1f(lines.uniforms.near, near);
    gl.uniform1f(lines.uniforms.width, 1.3 * ratio * fine);
    gl.drawArraysInstanced(gl.TRIANGLES, 0, 6, grids + strokes);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, ...size);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(screen.made);
    gl.bindVertexArray(nothing);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, colourMap);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, depthMap);
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform1i(screen.uniforms.colours, 0);
    gl.uniform1i(screen.uniforms.depths, 1);
    gl.uniform3f(screen.uniforms.ground, ...themes[state.theme].ground.map((v) => v / 255));
    gl.uniform1f(screen.uniforms.near, near);
    gl.uniform1f(screen.uniforms.far, far);
    gl.uniform1f(screen.uniforms.reach, Math.max(1, ratio * fine / 2));
    gl.uniform1f(screen.uniforms.strength, 1);
    gl.uniform1i(screen.uniforms.fine, fine);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  function again() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  // ---- panels

  function element(tag, text, parent, values = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made, values);
    parent.append(made);
    return made;
  }

  const css = (table, row) => `rgb(${table[3 * row]}, ${table[3 * row + 1]}, ${table[3 * row + 2]})`;
  const three = (value) => (Math.abs(value) < 1000 ? Number(value.toPrecision(3)) : Math.round(value));

  function showModes() {
    $("modes").replaceChildren();
    for (const shown of current().modes) {
      const button = element("button", shown.name, $("modes"), { onclick: () => setMode(shown.name) });
      button.setAttribute("aria-pressed", shown === mode());
    }
    $("modes").hidden = current().modes.length < 2;
  }

  function toggle(name) {
    if (!state.hidden.delete(name)) state.hidden.add(name);
    fillColours();
    showLegend();
    again();
  }

  function showLegend() {
    const panel = $("legend"), shown = mode();
    panel.replaceChildren();
    if (shown.ramp) {
      element("p", shown.ramp.title, panel);
      const bar = element("div", "", panel, { className: "ramp" });
      const stops = [];
      const last = shown.table.length / 3 - 1;
      for (let i = 0; i <= 16; i++) stops.push(css(shown.table, Math.round(last * i / 16)));
      bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      const ends = element("div", "", panel, { className: "ends" });
      element("span", three(shown.ramp.low), ends).style.flex = "none";
      element("span", three(shown.ramp.high), ends).style.flex = "none";
    } else if (shown.names) {
      const rows = shown.names.map((name, row) => [name, css(shown.table, row), shown.counts[row]]);
      const rest = scan().count - shown.counts.reduce((a, b) => a + b, 0);
      if (rest > 0) rows.push(["", `rgb(${GREY})`, rest]);
      for (const [name, colour, count] of rows) {
        const button = element("button", "", panel, { onclick: () => toggle(name) });
        button.setAttribute("aria-pressed", !state.hidden.has(name));
        element("i", "", button).style.background = colour;
        element("span", name || "ignored", button);
        element("small", count.toLocaleString("en"), button);
      }
    } else if (shown.title) element("p", shown.title, panel);
    panel.hidden = !state.legend || !panel.childElementCount;
  }

  function setMode(name) {
    state.mode = name;
    fillColours();
    showModes();
    showLegend();
    $("tip").hidden = true;
    again();
  }

  function setScan(number) {
    const many = DATA.scans.length;
    state.scan = Math.max(0, Math.min(many - 1, number));
    gl.bindBuffer(gl.ARRAY_BUFFER, positions);
    gl.bufferData(gl.ARRAY_BUFFER, current().position, gl.STATIC_DRAW);
    $("name").querySelector("h1").textContent = DATA.title || scan().name;
    const count = `${scan().count.toLocaleString("en")} points`;
    $("name").querySelector("p").textContent = DATA.title ? `${scan().name} · ${count}` : count;
    $("slider").value = state.scan;
    $("number").textContent = `${state.scan + 1} / ${many}`;
    $("boxes").hidden = !DATA.scans.some((s) => s.boxes.length);
    fillLines();
    setMode(mode().name);
  }

  function setTheme(theme) {
    state.theme = theme;
    document.documentElement.dataset.theme = theme;
    fillLines();
    again();
  }

  function setBoxes(on) {
    state.boxes = on;
    $("boxes").setAttribute("aria-pressed", on);
    fillLines();
    again();
  }

  function above() {
    state.azimuth = 270;
    state.elevation = 89.9;
    again();
  }

  // ---- moving

  function turn(x, y) {
    state.azimuth -= x * 0.3;
    state.elevation = Math.max(-89.9, Math.min(89.9, state.elevation + y * 0.3));
    again();
  }

  function move(x, y) {
    const { right, up } = basis();
    const metres = 2 * state.distance * Math.tan(ANGLE / 2) / canvas.clientHeight;
    state.target = state.target.map((t, i) => t + (up[i] * y - right[i] * x) * metres);
    again();
  }

  function zoom(factor) {
    state.distance = Math.max(DATA.radius / 2000, Math.min(DATA.radius * 12, state.distance * factor));
    again();
  }

  // The point nearest to a place on the screen, within a few pixels, or -1.
  function pick(x, y) {
    const { view, projection } = matrices(), { position } = current(), shown = mode();
    const hidden = (shown.names || []).map((name) => state.hidden.has(name));
    const wide = canvas.clientWidth, tall = canvas.clientHeight;
    let best = -1, least = Infinity;
    for (let i = 0; i < scan().count; i++) {
      if (shown.names && (shown.index[i] > 0 ? hidden[shown.index[i] - 1] : state.hidden.has(""))) continue;
      const [a, b, c] = position.subarray(3 * i, 3 * i + 3);
      const z = view[2] * a + view[6] * b + view[10] * c + view[14];
      if (z > -1e-3) continue;
      const px = (view[0] * a + view[4] * b + view[8] * c + view[12]) * projection[0] / -z;
      const py = (view[1] * a + view[5] * b + view[9] * c + view[13]) * projection[5] / -z;
      const dx = (px + 1) / 2 * wide - x, dy = (1 - py) / 2 * tall - y;
      // of points at the same place the nearer one
      const cost = dx * dx + dy * dy + 40 * -z / state.distance;
      if (dx * dx + dy * dy < 196 && cost < least) {
        best = i;
        least = cost;
      }
    }
    return best;
  }

  function describe(x, y) {
    const i = pick(x, y), tip = $("tip");
    tip.hidden = i < 0;
    if (i < 0) return;
    const { position, modes } = current();
    const at = [0, 1, 2].map((axis) => (position[3 * i + axis] + DATA.origin[axis]).toFixed(2));
    const lines = [`x ${at[0]}  y ${at[1]}  z ${at[2]} m`];
    for (const m of modes) {
      if (m.names) lines.push(`${m.name}: ${m.index[i] > 0 ? m.names[m.index[i] - 1] : "ignored"}`);
      else if (m.ids) lines.push(`${m.name}: ${m.index[i] > 0 ? m.ids[m.index[i] - 1] : "none"}`);
      else if (m.ramp && m.index[i] > 0 && !m.ramp.title.startsWith("height")) {
        const share = (m.index[i] - 1) / (m.table.length / 3 - 1);
        lines.push(`${m.name}: ${three(m.ramp.low + share * (m.ramp.high - m.ramp.low))}`);
      }
    }
    tip.textContent = lines.join("\n");
    tip.style.left = `${Math.min(x + 14, canvas.clientWidth - 240)}px`;
    tip.style.top = `${Math.min(y + 14, canvas.clientHeight - 110)}px`;
  }

  const fingers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 1) travelled = 0;
    $("help").hidden = true;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const x = event.clientX - before[0], y = event.clientY - before[1];
    travelled += Math.abs(x) + Math.abs(y);
    if (travelled > 4) $("tip").hidden = true;
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const was = Math.hypot(before[0] - other[0], before[1] - other[1]);
      const is = Math.hypot(event.clientX - other[0], event.clientY - other[1]);
      if (was > 0 && is > 0) zoom(was / is);
      move(x / 2, y / 2);
    } else if (event.shiftKey || event.buttons & 6) move(x, y);
    else turn(x, y);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (fingers.size === 1 && travelled <= 4) describe(event.clientX, event.clientY);
    fingers.delete(event.pointerId);
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.003)));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    const i = pick(event.clientX, event.clientY);
    if (i < 0) return;
    state.target = Array.from(current().position.subarray(3 * i, 3 * i + 3));
    zoom(0.6);
  });

  const keys = {
    n: () => setScan(state.scan + 1),
    p: () => setScan(state.scan - 1),
    t: above,
    r: () => { home(); again(); },
    b: () => setBoxes(!state.boxes),
    g: () => { state.grid = !state.grid; fillLines(); again(); },
    l: () => { state.legend = !state.legend; showLegend(); },
    d: () => setTheme(state.theme === "dark" ? "light" : "dark"),
    "[": () => { state.scale = Math.max(0.3, state.scale / 1.2); again(); },
    "]": () => { state.scale = Math.min(6, state.scale * 1.2); again(); },
    "+": () => zoom(0.85),
    "=": () => zoom(0.85),
    "-": () => zoom(1 / 0.85),
    "?": () => { $("help").hidden = !$("help").hidden; },
    Escape: () => { $("help").hidden = true; $("tip").hidden = true; },
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target === $("slider")) return;
    const digit = Number(event.key), arrow = arrows[event.key];
    if (digit >= 1 && digit <= current().modes.length) setMode(current().modes[digit - 1].name);
    else if (arrow) (event.shiftKey ? move : turn)(arrow[0] * -18, arrow[1] * -18);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });
  $("previous").onclick = keys.p;
  $("next").onclick = keys.n;
  $("slider").oninput = () => setScan(Number($("slider").value));
  $("above").onclick = above;
  $("reset").onclick = keys.r;
  $("boxes").onclick = keys.b;
  $("theme").onclick = keys.d;
  $("more").onclick = keys["?"];
  new ResizeObserver(again).observe(canvas);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    sorry("The browser took the graphics memory away. Load the page again.");
  });

  const many = DATA.scans.length > 1;
  $("scans").hidden = !many;
  document.body.classList.toggle("many", many);
  $("slider").max = DATA.scans.length - 1;
  $("note").textContent = `grid ${DATA.grid.label}`;
  state.mode = DATA.scans[0].modes[0].name;
  document.documentElement.dataset.theme = state.theme;
  home();
  setScan(0);
  if (location.hash.length > 1) setMode(decodeURIComponent(location.hash.slice(1)));
}

document.documentElement.dataset.theme = state.theme;
if (!gl) {
  sorry("It needs WebGL 2, which this browser does not offer or has switched off. Any current "
    + "browser with graphics acceleration shows it; pictures of the same scans can be written as PNG.");
} else {
  try {
    main();
  } catch (error) {
    sorry(`WebGL failed: ${error.message}`);
  }
}
