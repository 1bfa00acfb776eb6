// The page asks for itself every few seconds and shows what has changed. Without this script it
// works as well, with a link that loads it again.
"use strict";
(() => {
    const period = 5000, patience = 4000;
    const stale = document.getElementById("stale");
    const spoken = document.getElementById("spoken");
    let answered = new Date(), waiting = false;

    // Somebody is marking text: wait, rather than take it away.
    const marking = () => {
        const selection = document.getSelection();
        return selection !== null && !selection.isCollapsed;
    };

    const replace = (page) => {
        const focused = document.activeElement === null ? "" : document.activeElement.id;
        for (const details of page.querySelectorAll("details[id]")) {
            const now = document.getElementById(details.id);
            details.open = now !== null && now.open;
        }
        for (const part of ["body > header", "main"])
            document.querySelector(part).replaceWith(document.importNode(page.querySelector(part), true));
        document.getElementById("how").textContent = "renews itself";
        if (focused !== "") document.getElementById(focused)?.focus({ preventScroll: true });
    };

    const show = (text) => {
        const page = new DOMParser().parseFromString(text, "text/html");
        const headline = page.querySelector("main > #health > h2").textContent;
        const icon = page.querySelector("link[rel=icon]");
        replace(page);
        document.title = page.title;
        document.querySelector("link[rel=icon]").href = icon.href;
        if (spoken.textContent !== headline) spoken.textContent = headline;
    };

    const gone = (is) => {
        stale.hidden = !is;
        document.body.classList.toggle("gone", is);
    };

    const refresh = async () => {
        if (waiting || document.hidden || marking()) return;
        waiting = true;
        try {
            const answer = await fetch(location.href, {
                cache: "no-store",
                redirect: "error",
                signal: AbortSignal.timeout(patience),
            });
            if (!answer.ok) throw new Error(answer.statusText);
            show(await answer.text());
            answered = new Date();
            gone(false);
        } catch {
            stale.textContent = "No answer from the proxy since " +
                answered.toISOString().slice(11, 19) + " UTC. What you see is from then.";
            gone(true);
        }
        waiting = false;
    };

    document.getElementById("how").textContent = "renews itself";
    document.addEventListener("visibilitychange", refresh);
    setInterval(refresh, period);
})();
