// What anyone can see or hear of the page, checked in the page: a list of what is wrong.
(() => {
    const wrong = [];
    const say = (what, element) =>
        wrong.push(what + ": " + (element ? element.outerHTML.slice(0, 120) : ""));

    const rgb = (text) => {
        const part = text.match(/[\d.]+/g).map(Number);
        return { r: part[0], g: part[1], b: part[2], a: part.length > 3 ? part[3] : 1 };
    };
    const light = (c) => {
        const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
    };
    const ground = (element) => {
        for (let e = element; e !== null; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour.a === 1) return colour;
        }
        return { r: 255, g: 255, b: 255 };
    };
    const contrast = (a, b) => {
        const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };

    // Contrast of all text that shows (WCAG 2, 1.4.3).
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() === "" || !e.checkVisibility() ||
            ["SCRIPT", "STYLE", "title", "desc"].includes(e.tagName)) continue;
        const style = getComputedStyle(e);
        const ink = rgb(e instanceof SVGElement ? style.fill : style.color);
        if (contrast(ink, ground(e)) < 4.5)
            say("contrast " + contrast(ink, ground(e)).toFixed(2), e);
    }

    // Nothing is wider than the screen but what scrolls by itself.
    if (document.documentElement.scrollWidth > window.innerWidth)
        say("wider than the screen, " + document.documentElement.scrollWidth);

    // Names, headings, tables, ids.
    if (document.querySelectorAll("h1").length !== 1) say("not one h1");
    let level = 0;
    for (const h of document.querySelectorAll("h1, h2, h3")) {
        if (Number(h.tagName[1]) > level + 1) say("a heading skips a level", h);
        level = Number(h.tagName[1]);
    }
    for (const svg of document.querySelectorAll("svg")) {
        if (svg.closest("svg[aria-hidden=true], svg[role=img]") === null)
            say("a picture without a role", svg);
        const named = svg.getAttribute("aria-labelledby");
        if (svg.getAttribute("role") === "img" && svg.getAttribute("aria-label") === null &&
            (named === null || named.split(" ").some((id) => document.getElementById(id) === null)))
            say("a picture without a name", svg);
    }
    for (const th of document.querySelectorAll("th"))
        if (th.getAttribute("scope") === null) say("a table header without scope", th);
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) say("an id twice: " + id);
    for (const e of document.querySelectorAll("[aria-labelledby]"))
        for (const id of e.getAttribute("aria-labelledby").split(" "))
            if (document.getElementById(id) === null) say("labelled by nothing", e);
    if (document.documentElement.lang === "") say("no language");
    for (const time of document.querySelectorAll("time"))
        if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(time.getAttribute("datetime")))
            say("a time without a date", time);

    // Markup that only a peer could have brought.
    for (const e of document.querySelectorAll("main script, main img, main b, main style, [onerror]"))
        say("an element that is not ours", e);
    return wrong;
})();
