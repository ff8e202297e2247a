"""The page's entrance: which pages there are and what frames them."""

import streamlit as st

from finagent.dashboard import plans_page, today_page
from finagent.dashboard.look import STYLE

st.set_page_config(page_title="finagent", page_icon=":material/candlestick_chart:", layout="wide")
st.html(STYLE)
page = st.navigation(
    [
        st.Page(today_page.show, title="Today", icon=":material/today:", default=True),
        st.Page(plans_page.show, title="Plans", icon=":material/rule:", url_path="plans"),
    ],
    position="top",
)
page.run()
