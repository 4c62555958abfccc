import Theme from "vitepress/theme-without-fonts";
import MermaidDiagram from "./MermaidDiagram.vue";
import VersionMenu from "./VersionMenu.vue";
import "./style.css";

export default {
  extends: Theme,
  enhanceApp({ app }) {
    app.component("MermaidDiagram", MermaidDiagram);
    app.component("VersionMenu", VersionMenu);
  },
};
