// Draws every chart in the colours of the page, and again when the theme changes.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  const themed = (value) => {
    if (typeof value === "string") return value.startsWith("series-") ? colour(value) : value;
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, key === "data" ? each : themed(each)]),
    );
  };

  const config = () => ({
    background: null,
    font: "system-ui, sans-serif",
    view: { stroke: null },
    mark: { color: colour("series-0") },
    text: { color: colour("text") },
    range: { diverging: [colour("low"), colour("middle"), colour("high")] },
    axis: {
      domainColor: colour("line"), gridColor: colour("line"), tickColor: colour("line"),
      labelColor: colour("dim"), titleColor: colour("dim"), titleFontWeight: "normal",
    },
    axisY: { domain: false, ticks: false },
    legend: { labelColor: colour("text"), labelLimit: 200 },
  });

  const draw = async () => {
    const options = {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, config: config(),
      tooltip: { theme: dark.matches ? "dark" : "light" },
    };
    await Promise.all(
      Object.entries(specs).map(([id, spec]) =>
        window.vegaEmbed(`#${id}`, { ...themed(spec), width: "container" }, options),
      ),
    );
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  };

  dark.addEventListener("change", draw);
  draw();
})();
