"""The pages of the console: what operators and engineers see in a browser, over the same services as the API.

Adding a page:

1. A module of this package with a `router = APIRouter(route_class=PageRoute)`. Each route declares its role as those of
   the API do, and answers with `pages.page(request, "name.html.j2", "Title", **context)`::

       @router.get("/history", response_class=HTMLResponse)
       @needs(Role.VIEWER)
       def history(request: Request) -> HTMLResponse:
           return page(request, "history.html.j2", "History", products=[...])

   Who is not logged in is sent to `/login`; every other error becomes a page with the sentence of the problem. What a
   page fetches is a route of `/v1`, or a route with `GuardedRoute` under `/console/` where nobody else wants it.
2. The router goes into `site.ROUTERS`, its link into `pages.NAVIGATION`.
3. A template in `templates/` that extends `base.html.j2` and fills the blocks `main`, and `scripts` with
   `<script type="module" src="{{ asset('history.js') }}"></script>`. Macros for icons and verdicts: `parts.html.j2`.
4. Scripts and styles in `static/`: ES modules that import each other by relative path, and one `sightline.css` whose
   custom properties carry all colours (dark and light). Verdicts are always colour, shape and word. Targets that are
   touched have the height `--touch`.

The Content-Security-Policy forbids inline scripts and styles, and anything from elsewhere: no `onclick=`, no `style=`
(set `element.style` from a script, or a class), no `data:` picture; draw on a canvas. `api.js` has `request(...)`,
which sends the CSRF token, lets people log in again without losing what they typed, and turns problems into sentences;
`dom.js` has `h(...)` to make elements; `live.js` follows server-sent events and says when they are stale; `notice.js`
says sentences that pass by, and banners that stay.
"""
