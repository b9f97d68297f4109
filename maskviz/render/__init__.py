"""Drawing: a Page of panels in, terminal text or image bytes out. Renderers know no attention."""
