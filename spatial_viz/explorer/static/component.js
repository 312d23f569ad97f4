// The live explorer as a component of Streamlit.

const instances = new WeakMap();

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  // Streamlit calls this again with the same parent whenever data or theme change; only the last cleanup runs.
  let instance = instances.get(parentElement);
  if (instance) {
    Object.assign(instance, { setStateValue, setTriggerValue });
    instance.view.update(data);
  } else {
    instance = { setStateValue, setTriggerValue, seq: 0 };
    const onCommit = (pose) => {
      instance.seq = Math.max(instance.seq + 1, Date.now()); // grows over remounts as well
      instance.setStateValue("pose", { ...pose, seq: instance.seq });
    };
    const onRest = () => instance.setTriggerValue("rest", true);
    instance.view = mount(parentElement, data, { onCommit, onRest });
    instances.set(parentElement, instance);
  }
  return () => {
    instance.view.destroy();
    instances.delete(parentElement);
  };
}
